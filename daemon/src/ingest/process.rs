//! One taken item on its way to a version: read, hashed, published, and moved on. Knows the order of the steps and what a
//! crash leaves after each; refuses to know when an item's turn is.
