//! A disk that can be full or read-only: a small one in memory, where the user may mount one.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{PROGRAM, World};

/// A file system of 32 MiB; unmounted with this.
pub(crate) struct Mount(PathBuf);

impl Mount {
    /// Mounts one on an empty folder, if the system lets this user.
    pub(crate) fn on(folder: &Path) -> Option<Self> {
        let options = "size=32m,mode=0700";
        let mounted = did(Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(folder));
        mounted.then(|| Self(folder.to_owned()))
    }

    /// Fills it until only `room` bytes are free.
    pub(crate) fn fill(&self, room: u64) {
        let mut file = File::create(self.ballast()).expect("the ballast can be made");
        let zeros = vec![0; 1 << 16];
        while file.write_all(&zeros).is_ok() {}
        let length = file.metadata().expect("the ballast is there").len();
        file.set_len(length - room).expect("the ballast can be shortened");
    }

    /// Frees what [`Mount::fill`] took.
    pub(crate) fn empty(&self) {
        fs::remove_file(self.ballast()).expect("the ballast is there");
    }

    /// Makes it read-only.
    pub(crate) fn freeze(&self) {
        let frozen = did(Command::new("mount").args(["-o", "remount,ro"]).arg(&self.0));
        assert!(frozen, "{} stays writable", self.0.display());
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        did(Command::new("umount").arg("--lazy").arg(&self.0));
    }
}

fn did(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// The program where no file may grow past `blocks` of 512 bytes: writing further is an error, as on a full disk.
pub(crate) fn limited(world: &World, blocks: u32) -> Command {
    let base = world.command();
    let mut command = Command::new("sh");
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
    command.args(["-c", script.as_str(), "sh", PROGRAM]);
    if let Some(folder) = base.get_current_dir() {
        command.current_dir(folder);
    }
    for (name, value) in base.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    command
}
