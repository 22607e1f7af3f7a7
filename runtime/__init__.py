if __name__ != "eer.runtime":
    raise ImportError(
        "import this package as eer.runtime: install the project with 'pip install -e .'"
    )
