"""What happens to pictures after they are made: operations, chains of them, and the named chains in `presets.yaml`."""
