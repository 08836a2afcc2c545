"""Text that people read: cleaned, marked up, with metrics in words."""
