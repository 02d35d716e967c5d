"""Small computations that several claims share."""
