"""The formulas: operations, model, numerical gradients, checks, update rules, the loop. Read in this order."""
