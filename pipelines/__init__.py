"""What happens, in which order: steps, config, runners, the judge, mail, the command line."""
