"""What ``fastnn train`` does, and parts that other commands which train share.

    source      options of the data, and the rows, target and weights that they name
    ensemble    the default: an ensemble of networks, as of fastnn.tabular
    options     those of one plain network, and what `Model` and `Model.fit` take for them
    network     one plain network (--network)
"""
