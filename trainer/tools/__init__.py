"""What people do with a model: the command line, samples, scores, walks through the chain, reports."""
