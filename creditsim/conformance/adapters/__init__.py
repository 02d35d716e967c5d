"""One adapter per golden file."""
