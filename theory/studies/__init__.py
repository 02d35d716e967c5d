"""Built-in studies, one file each; `theory.study` says what one is."""
