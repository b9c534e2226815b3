//! `/v1/problems`: what is wrong.

use axum::{Json, Router, extract::State, routing::get};
use serde::{Deserialize, Serialize};

use super::Context;
use crate::{
    problem::{Problem, Problems},
    rfc3339,
};

/// What is wrong, errors first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemList {
    /// The problems.
    pub problems: Vec<ProblemView>,
}

/// A problem with its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemView {
    /// The problem.
    #[serde(flatten)]
    pub problem: Problem,
    /// When it was first raised (RFC 3339).
    pub since: String,
    /// Seconds since then.
    pub since_seconds: u64,
}

impl ProblemView {
    pub(super) fn all(problems: &Problems) -> Vec<Self> {
        let view = |standing: crate::problem::Standing| {
            let elapsed = standing.since.elapsed();
            Self {
                problem: standing.problem,
                since: rfc3339::ago(elapsed),
                since_seconds: elapsed.as_secs(),
            }
        };
        problems.standing().into_iter().map(view).collect()
    }
}

pub(super) fn routes() -> Router<Context> {
    Router::new().route("/v1/problems", get(problems))
}

async fn problems(State(context): State<Context>) -> Json<ProblemList> {
    Json(ProblemList {
        problems: ProblemView::all(&context.problems),
    })
}
