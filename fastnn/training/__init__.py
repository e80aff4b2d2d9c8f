"""What a fit is: its plan, its epochs, and what watches them."""
