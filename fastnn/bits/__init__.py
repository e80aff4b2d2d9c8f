"""`fastnn.verify`: are this machine's bits those of everywhere?

    networks       small networks, and data from integers, that say it
    hashes.json    SHA-256 of their weights and outputs, of config's BITS_VERSION
    check          trains them and compares
"""
