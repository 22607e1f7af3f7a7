if __name__ != "eer.compiler":
    raise ImportError("import this package as eer.compiler: install the project with 'pip install -e .'")
