//! What the kernel knows of NVIDIA: the card on the bus, the module that drives it, and the devices it made.

use std::fs;
use std::path::Path;

/// What the kernel knows of NVIDIA.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kernel {
    /// A display controller of NVIDIA is on the PCI bus.
    pub card: bool,
    /// Version of the module that is loaded.
    pub loaded: Option<String>,
    /// Version of the libraries that are installed.
    pub installed: Option<String>,
    /// The free driver `nouveau` is loaded, which keeps NVIDIA's away from the card.
    pub nouveau: bool,
    /// The firmware lets only signed modules in.
    pub secure_boot: bool,
    /// `/dev/nvidiactl` is there.
    pub devices: bool,
    /// This is a container.
    pub container: bool,
}

/// Where distributions put the driver's libraries.
const LIBRARIES: &[&str] =
    &["usr/lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/nvidia/current", "usr/lib64", "usr/lib"];

/// Most entries of a folder that are looked at: some distributions have thousands of libraries in one.
const MAX_ENTRIES: usize = 20_000;

impl Kernel {
    /// Reads the file system below `root`, which is `/` but for tests.
    pub fn read(root: &Path) -> Self {
        Self {
            card: card(&root.join("sys/bus/pci/devices")),
            loaded: fs::read_to_string(root.join("proc/driver/nvidia/version")).ok().and_then(|text| loaded(&text)),
            installed: LIBRARIES.iter().find_map(|folder| installed(&root.join(folder))),
            nouveau: root.join("sys/module/nouveau").exists(),
            secure_boot: secure_boot(&root.join("sys/firmware/efi/efivars")),
            devices: root.join("dev/nvidiactl").exists(),
            container: root.join(".dockerenv").exists() || root.join("run/.containerenv").exists(),
        }
    }
}

fn names(folder: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().take(MAX_ENTRIES);
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok())
}

/// A device of vendor 10de and class 03, display controller.
fn card(devices: &Path) -> bool {
    let starts = |path: &Path, with: &str| fs::read_to_string(path).is_ok_and(|text| text.trim().starts_with(with));
    names(devices).any(|name| {
        let device = devices.join(name);
        starts(&device.join("vendor"), "0x10de") && starts(&device.join("class"), "0x03")
    })
}

/// `NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.163.01  Tue Apr ...`; the open module has `Open` and `for` in it.
fn loaded(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with("NVRM version"))?;
    line.split_whitespace().find(|word| is_version(word)).map(str::to_owned)
}

fn installed(folder: &Path) -> Option<String> {
    names(folder).find_map(|name| name.strip_prefix("libnvidia-ml.so.").filter(|it| is_version(it)).map(str::to_owned))
}

fn is_version(word: &str) -> bool {
    let mut parts = word.split('.');
    parts.next().is_some_and(|major| major.len() == 3 && major.bytes().all(|byte| byte.is_ascii_digit()))
        && parts.clone().next().is_some()
        && parts.all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The variable holds four bytes of attributes, then 1 where it is on.
/// Source: docs.kernel.org/filesystems/efivarfs.html.
fn secure_boot(variables: &Path) -> bool {
    let path = variables.join("SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c");
    fs::read(path).is_ok_and(|bytes| bytes.get(4) == Some(&1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_modules_name_their_version() {
        let closed = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.163.01  Tue Apr  8 12:41:17 UTC 2025\n\
                      GCC version:  gcc version 12.2.0 (Debian 12.2.0-14+deb12u1)\n";
        let open =
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (dvs-builder@U22)\n";
        assert_eq!(loaded(closed).as_deref(), Some("550.163.01"));
        assert_eq!(loaded(open).as_deref(), Some("580.95.05"));
        assert_eq!(loaded("NVRM version: what is this"), None);
        assert_eq!(loaded(""), None);
    }

    #[test]
    fn a_whole_file_system_is_read() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, bytes: &[u8]| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        assert_eq!(Kernel::read(root.path()), Kernel::default());
        write("sys/bus/pci/devices/0000:01:00.0/vendor", b"0x10de\n");
        write("sys/bus/pci/devices/0000:01:00.0/class", b"0x030000\n");
        write("sys/module/nouveau/refcnt", b"1");
        write("sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c", &[6, 0, 0, 0, 1]);
        write("usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1", b"");
        write("usr/lib/x86_64-linux-gnu/libnvidia-ml.so.580.95.05", b"");
        let kernel = Kernel::read(root.path());
        assert!(kernel.card && kernel.nouveau && kernel.secure_boot && !kernel.devices && !kernel.container);
        assert_eq!(kernel.installed.as_deref(), Some("580.95.05"));
    }
}
