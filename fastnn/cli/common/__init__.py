"""What commands share.

    arguments     values of options, checked as they are parsed
    messages      the two errors of a command; notes and warnings on standard error
    model_file    a model file or ONNX file, and the data that it is given
    metrics       scores and importance as text
    output        where results go: files replaced whole, or standard output
"""
