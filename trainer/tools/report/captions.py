"""What each figure shows, and what to look for in it."""

CAPTIONS = {
    "Loss": "In nats. Look for validation below the bigram line, which counting pairs of characters reaches, and still"
    " falling. A wrong gradient need not show here: many a mistake only makes training a little worse.",
    "Error over tolerance": "The largest error of each check over its tolerance, at the steps that were checked, and"
    " beside it the worst of all. Green is within, the darker the closer; red is outside. A wrong link and all that is"
    " made from it are red; what was made before it stays green. Where nothing is drawn, the log has no row: it keeps"
    " those of the first hundred checked steps, of the first checked step in each log.every steps, and all that failed"
    " or were the worst so far.",
    "Update : data": "How far a step moves a tensor, relative to its size. Look for curves within a factor of a hundred"
    " of 1e-3. They fall with the learning rate, at the end of some schedules to nothing; the output weights W2 begin"
    " small, and biases at zero, so theirs begin high.",
    "Gradient : data": "How large a gradient is, relative to its tensor; small tensors, as W2 and the biases, stand"
    " above C and W1. Look for a tensor that drifts away from the others: a factor that is missing shifts its curve by"
    " that factor.",
    "Gradient norm": "Of all gradients together. Look for a level that changes slowly; single peaks are single hard"
    " batches.",
    "Saturated units": "The share of hidden units with |h| > 0.99, through which almost no gradient passes. It climbs"
    " slowly while the weights grow, in a sound training to a quarter or a third. Look for a level below a half.",
    "h over time": "The hidden units. Piles at -1 and 1 are saturated units, of which a trained model has some. Look"
    " for a floor between them that stays.",
    "dh over time": "The gradient that reaches the hidden units. Look for a width that changes slowly over the steps.",
    "dz over time": "The same after the slope of tanh, 1 - h². Look for a shape narrower than dh: saturated units add"
    " to the peak at zero.",
    "Embeddings, by cosine": "The cosine of each two embeddings, sorted along the direction in which they differ most."
    " Look for square orange blocks: characters that the model treats alike.",
    "Validation loss": "In nats. Look for the lowest end.",
}
