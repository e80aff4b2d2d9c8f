"""Tables: what a file holds, and what its columns mean to a network."""
