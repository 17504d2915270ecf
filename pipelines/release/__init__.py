"""Release: from an audited dataset to a folder that can be published. Start at `staging`."""
