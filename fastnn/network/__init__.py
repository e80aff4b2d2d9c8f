"""What a network is: layers, their parameters, and users' arrays as it takes them."""
