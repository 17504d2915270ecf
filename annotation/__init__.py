"""People's reports: labelling interface, tasks, sync with Label Studio, quality control, agreement."""
