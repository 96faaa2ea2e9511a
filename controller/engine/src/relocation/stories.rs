//! Moves from beginning to end on a small fleet that is stepped by hand.
