//! Sections 4 to 7.
