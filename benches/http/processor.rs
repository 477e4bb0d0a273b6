//! The processor time of another process.

use std::process::Child;

use nix::{
    time::{clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};

/// Returns nanoseconds of user and system time, of all threads, including those that have ended.
pub(crate) fn time_of(process: &Child) -> f64 {
    let pid = Pid::from_raw(process.id().try_into().expect("a process id"));
    let clock = clock_getcpuclockid(pid).expect("the process runs");
    let time = clock_gettime(clock).expect("a clock");
    time.tv_sec() as f64 * 1e9 + time.tv_nsec() as f64
}
