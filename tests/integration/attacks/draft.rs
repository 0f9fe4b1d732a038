//! What a draft reads from rows is marked, and nothing so marked reaches a model.
