//! The system calls behind [`crate::process`].

use std::{
    fs::File,
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    sync::{LazyLock, mpsc},
    thread,
};

use anyhow::Context as _;

use crate::process::Program;

/// Sends a signal to a process, or to a process group if `pid` is negative. A missing process is not an error.
pub fn send(pid: i32, signal: i32) {
    #[expect(unsafe_code, reason = "the standard library has no kill(2); it touches no memory of this process")]
    unsafe {
        libc::kill(pid, signal);
    }
}

/// Starts a child from a thread that lives as long as this process. The kernel sends the parent-death signal when the *thread*
/// that started the child ends, and the thread of a test ends with the test.
pub fn spawn(program: Program, out: File, detached: bool) -> anyhow::Result<Child> {
    type Job = Box<dyn FnOnce() + Send>;
    static SPAWNER: LazyLock<mpsc::Sender<Job>> = LazyLock::new(|| {
        let (jobs, inbox) = mpsc::channel::<Job>();
        thread::spawn(move || inbox.iter().for_each(|job| job()));
        jobs
    });
    let (reply, answer) = mpsc::channel();
    let job = Box::new(move || {
        let _ = reply.send(spawn_here(&program, out, detached));
    });
    SPAWNER.send(job).ok().context("the spawning thread is gone")?;
    answer.recv().context("the spawning thread is gone")?
}

fn spawn_here(program: &Program, out: File, detached: bool) -> anyhow::Result<Child> {
    let mut command = Command::new(&program.path);
    command
        .args(&program.args)
        .env("NO_PROXY", "127.0.0.1,localhost") // otherwise daprd calls its application through a proxy
        .env("no_proxy", "127.0.0.1,localhost")
        .envs(program.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stderr(out.try_clone()?)
        .stdout(out);
    if let Some((uid, gid)) = program.user {
        command.uid(uid).gid(gid).current_dir("/"); // that user may not be able to enter the current directory
    }
    let parent = std::process::id();
    #[expect(
        unsafe_code,
        reason = "runs between fork and exec, where only async-signal-safe calls are allowed: these are"
    )]
    unsafe {
        command.pre_exec(move || {
            libc::setsid(); // Ctrl-C then reaches only us, and we stop the processes in order
            if !detached {
                #[cfg(target_os = "linux")] // nothing else has it: there, a killed run leaves its processes behind
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                if libc::getppid() as u32 != parent {
                    libc::_exit(1); // the parent died before prctl took effect
                }
            }
            Ok(())
        });
    }
    command.spawn().with_context(|| format!("cannot start {}", program.path.display()))
}
