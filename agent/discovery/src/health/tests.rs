use proptest::prelude::*;

use super::*;

fn spec() -> CheckSpec {
    CheckSpec {
        interval: Duration::from_secs(1),
        timeout: Duration::from_millis(200),
        rise: 2,
        fall: 3,
        hold: Duration::ZERO,
        ..CheckSpec::new(CheckKind::Tcp { port: 80 })
    }
}

fn fail() -> Outcome {
    Outcome::Fail("connection refused".to_owned())
}

/// Runs attempts with the given outcomes, each answered after 1 ms, and collects what is told.
fn run(check: &mut Check, now: &mut Time, outcomes: &[bool]) -> Vec<Health> {
    let mut told = Vec::new();
    for pass in outcomes {
        let attempt = loop {
            *now = (*now).max(check.poll_timeout());
            let step = check.handle_timeout(*now);
            told.extend(check.poll_transition(*now).map(|transition| transition.to));
            if let Step::Begin(attempt) = step {
                break attempt;
            }
        };
        *now = *now + Duration::from_millis(1);
        check.handle_result(*now, attempt, if *pass { Outcome::Pass } else { fail() });
        told.extend(check.poll_transition(*now).map(|transition| transition.to));
    }
    told
}

#[test]
fn the_first_pass_is_enough_and_then_rise_and_fall_count() {
    use Health::{Failing, Passing};
    let cases: &[(&[bool], &[Health])] = &[
        (&[true], &[Passing]),
        (&[false, false], &[]),
        (&[false, false, false], &[Failing]),
        (&[true, false, false, true, false, false], &[Passing]),
        (&[true, false, false, false], &[Passing, Failing]),
        (&[true, false, false, false, true], &[Passing, Failing]),
        (
            &[true, false, false, false, true, true],
            &[Passing, Failing, Passing],
        ),
        (
            &[true, false, false, false, true, false, true],
            &[Passing, Failing],
        ),
    ];
    for (outcomes, told) in cases {
        let mut now = Time::ZERO;
        let mut check = Check::new(spec(), 1, now);
        assert_eq!(run(&mut check, &mut now, outcomes), *told, "{outcomes:?}");
    }
}

#[test]
fn failures_within_the_grace_do_not_count_until_something_has_passed() {
    let mut now = Time::ZERO;
    let mut check = Check::new(
        CheckSpec {
            start_grace: Duration::from_secs(60),
            ..spec()
        },
        1,
        now,
    );
    assert_eq!(run(&mut check, &mut now, &[false; 20]), []);
    assert_eq!(
        run(&mut check, &mut now, &[true, false, false, false]),
        [Health::Passing, Health::Failing]
    );

    let mut now = Time::ZERO;
    let mut check = Check::new(
        CheckSpec {
            start_grace: Duration::from_secs(5),
            ..spec()
        },
        1,
        now,
    );
    let told = run(&mut check, &mut now, &[false; 12]);
    assert_eq!(told, [Health::Failing], "the grace ends");
    assert!(
        now.since(Time::ZERO) >= Duration::from_secs(7),
        "grace and three failures"
    );
}

#[test]
fn an_attempt_without_answer_is_abandoned_and_counts_as_failed() {
    let mut check = Check::new(CheckSpec { fall: 1, ..spec() }, 1, Time::ZERO);
    let Step::Begin(first) = check.handle_timeout(Time::ZERO) else {
        panic!("the first attempt is due at once")
    };
    let late = check.poll_timeout();
    assert_eq!(late, Time::ZERO + Duration::from_millis(200));
    assert_eq!(check.handle_timeout(late), Step::Abandon(first));
    let transition = check.poll_transition(late).expect("fall is 1");
    assert_eq!(transition.why.as_deref(), Some("no answer within 200ms"));
    check.handle_result(late, first, Outcome::Pass);
    assert_eq!(
        check.poll_transition(late),
        None,
        "the answer of an abandoned attempt is ignored"
    );
    assert_eq!(check.health(), Health::Failing);
}

#[test]
fn a_flapping_check_tells_at_most_one_change_per_hold() {
    let mut now = Time::ZERO;
    let spec = CheckSpec {
        interval: Duration::from_millis(50),
        timeout: Duration::from_millis(20),
        rise: 1,
        fall: 1,
        hold: Duration::from_secs(1),
        ..spec()
    };
    let mut check = Check::new(spec, 1, now);
    let flapping: Vec<bool> = (0..400).map(|n| n % 2 == 0).collect();
    let told = run(&mut check, &mut now, &flapping);
    let seconds = now.since(Time::ZERO).as_secs() as usize;
    assert!(told.len() > 2, "it does flap: {told:?}");
    assert!(
        told.len() <= seconds + 2,
        "{} changes in {seconds} s",
        told.len()
    );
    // And the truth is told in the end.
    assert_eq!(
        run(&mut check, &mut now, &[true; 40])
            .last()
            .copied()
            .unwrap_or(check.health()),
        Health::Passing
    );
}

#[test]
fn a_restored_check_keeps_its_health_until_the_target_says_otherwise() {
    let mut now = Time::ZERO;
    let mut check = Check::resume(spec(), Health::Passing, 1, now);
    assert_eq!(check.health(), Health::Passing);
    assert_eq!(run(&mut check, &mut now, &[true, false, false]), []);
    assert_eq!(run(&mut check, &mut now, &[false]), [Health::Failing]);
}

#[test]
fn many_checks_of_one_interval_do_not_beat_together() {
    let starts: std::collections::BTreeSet<Time> = (0..100)
        .map(|seed| Check::resume(spec(), Health::Passing, seed, Time::ZERO).poll_timeout())
        .collect();
    assert!(starts.len() > 95, "only {} different starts", starts.len());
    assert!(
        starts
            .iter()
            .all(|start| start.since(Time::ZERO) < Duration::from_secs(1))
    );
}

proptest! {
    #[test]
    fn there_is_one_attempt_at_a_time_and_the_interval_is_kept(
        seed in any::<u64>(), delays in proptest::collection::vec(0u64..400, 1..60),
    ) {
        let mut check = Check::new(spec(), seed, Time::ZERO);
        let mut now = Time::ZERO;
        let mut last: Option<Time> = None;
        for delay in delays {
            now = now.max(check.poll_timeout());
            let Step::Begin(attempt) = check.handle_timeout(now) else { panic!("an attempt is due") };
            if let Some(last) = last {
                let span = now.since(last);
                prop_assert!((Duration::from_millis(900)..=Duration::from_millis(1_100)).contains(&span), "{span:?}");
            }
            last = Some(now);
            let answered = now + Duration::from_millis(delay);
            if delay >= 200 {
                now = check.poll_timeout();
                prop_assert_eq!(check.handle_timeout(now), Step::Abandon(attempt));
            } else {
                prop_assert_eq!(check.handle_timeout(answered), Step::Look);
                now = answered;
                check.handle_result(now, attempt, Outcome::Pass);
            }
            let _ = check.poll_transition(now);
        }
    }
}
