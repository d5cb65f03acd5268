"""Running untrusted programs: two tiers behind one entry, `running.run_programs`."""
