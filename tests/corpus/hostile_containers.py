def make(corpus): pass
