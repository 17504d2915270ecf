"""Publish: a release to the Hugging Face Hub: branch, upload, verify, one commit, tag."""
