"""A session from carrier to carrier: moved, handed over, refused; and what is due when."""
