//! Shows that the simulation notices: each mutant has to be caught.
