//! What people, programs and attackers put there: kinds, names, numbers, swaps while it is looked at.
