//! The policy engine from outside: what rules mean, by tables that cite the texts they are after,
//! and what holds of every rule and every route.

mod meaning;
mod properties;
mod route;
