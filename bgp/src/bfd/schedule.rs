//! Asking for a better place among the threads of the machine.

#![allow(unsafe_code, reason = "two system calls that no library of ours wraps")]

use std::io;

/// Above every ordinary thread, below the kernel's own at 50.
const PRIORITY: libc::c_int = 10;
/// The best place among ordinary threads.
const NICE: libc::c_int = -20;

/// Asks for the calling thread: real time (`SCHED_RR`), which takes CAP_SYS_NICE or a limit
/// (RLIMIT_RTPRIO); else a nice value of -20, which takes CAP_SYS_NICE or RLIMIT_NICE; else it stays
/// as it is. What became of it, in words.
pub(super) fn raise() -> String {
    match round_robin() {
        Ok(()) => format!("SCHED_RR, priority {PRIORITY}"),
        Err(real_time) => match nice() {
            Ok(()) => format!("nice {NICE}; no SCHED_RR: {real_time}"),
            Err(_) => format!(
                "ordinary; no SCHED_RR: {real_time} (it takes CAP_SYS_NICE or LimitRTPRIO={PRIORITY})"
            ),
        },
    }
}

fn round_robin() -> io::Result<()> {
    // Processes that this one starts are to be ordinary ones.
    let policy = libc::SCHED_RR | libc::SCHED_RESET_ON_FORK;
    let parameter = libc::sched_param {
        sched_priority: PRIORITY,
    };
    // SAFETY: 0 names the calling thread; the kernel only reads the parameter, which outlives the
    // call.
    done(unsafe { libc::sched_setscheduler(0, policy, &raw const parameter) })
}

fn nice() -> io::Result<()> {
    // SAFETY: plain numbers; 0 names the calling thread, as Linux has it.
    done(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) })
}

fn done(result: libc::c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
