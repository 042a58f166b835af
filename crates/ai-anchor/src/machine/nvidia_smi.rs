//! What `nvidia-smi` says of the GPUs: the second source, for where the driver's library cannot be asked.
//!
//! Source: `nvidia-smi --help-query-gpu`, and docs.nvidia.com/deploy/nvidia-smi.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::Gpu;

/// A healthy driver answers in less than a second, one that has to wake cards without the persistence daemon in some
/// seconds. A card that hangs never answers.
const PATIENCE: Duration = Duration::from_secs(20);

/// Most GPUs taken from an answer: more than any one machine holds.
const MAX_GPUS: usize = 64;

const QUERY: &str = "index,name,memory.total,memory.free,driver_version,compute_cap";

/// The GPUs, or why nothing is known of them, in the tool's words.
pub async fn list() -> Result<Vec<Gpu>, String> {
    let table = ask(&[&format!("--query-gpu={QUERY}"), "--format=csv,noheader,nounits"]).await?;
    let header = ask(&[]).await.unwrap_or_default();
    parse(&table, &header)
}

async fn ask(arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new("nvidia-smi");
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    match tokio::time::timeout(PATIENCE, command.output()).await {
        Err(_) => Err(format!("nvidia-smi gave no answer for {} seconds", PATIENCE.as_secs())),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => Err("nvidia-smi is not installed".into()),
        Ok(Err(error)) => Err(format!("nvidia-smi cannot be run: {error}")),
        Ok(Ok(output)) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            if output.status.success() {
                return Ok(text);
            }
            let said = if text.trim().is_empty() { String::from_utf8_lossy(&output.stderr).into_owned() } else { text };
            Err(said.lines().map(str::trim).filter(|line| !line.is_empty()).take(3).collect::<Vec<_>>().join(" "))
        }
    }
}

/// Reads the table that the query brings, and the header of `nvidia-smi` without arguments, which alone names CUDA.
pub(crate) fn parse(table: &str, header: &str) -> Result<Vec<Gpu>, String> {
    let cuda = cuda(header);
    let rows = table.lines().map(str::trim).filter(|line| !line.is_empty()).take(MAX_GPUS);
    let gpus = rows.map(|line| row(line, cuda)).collect::<Result<Vec<_>, _>>()?;
    if gpus.is_empty() { Err("nvidia-smi knows no GPU".into()) } else { Ok(gpus) }
}

fn row(line: &str, cuda: Option<(u32, u32)>) -> Result<Gpu, String> {
    let wrong = || format!("nvidia-smi said something unexpected: {line:.200}");
    let fields: Vec<_> = line.split(',').map(str::trim).collect();
    let [index, name, total, free, driver, compute] = fields[..] else { return Err(wrong()) };
    let mebibytes = |text: &str| text.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << 20));
    let read = || {
        Some(Gpu {
            index: index.parse().ok()?,
            name: name.to_owned(),
            memory_total: mebibytes(total)?,
            memory_free: mebibytes(free)?,
            driver: driver.to_owned(),
            cuda: cuda.or_else(|| cuda_of(driver))?,
            compute: version(compute)?,
        })
    };
    read().ok_or_else(wrong)
}

/// `CUDA Version: 12.4` in the header.
fn cuda(header: &str) -> Option<(u32, u32)> {
    let (_, rest) = header.split_once("CUDA Version")?;
    let rest = rest.trim_start_matches([' ', ':', '\t']);
    version(rest.split(|char: char| !char.is_ascii_digit() && char != '.').next()?)
}

/// The newest CUDA of a driver's branch.
/// Source: the table "CUDA Toolkit and Corresponding Driver Versions" of the CUDA release notes.
fn cuda_of(driver: &str) -> Option<(u32, u32)> {
    Some(match major(driver)? {
        580.. => (13, 0),
        575.. => (12, 9),
        570.. => (12, 8),
        560.. => (12, 6),
        555.. => (12, 5),
        550.. => (12, 4),
        545.. => (12, 3),
        535.. => (12, 2),
        530.. => (12, 1),
        525.. => (12, 0),
        _ => (11, 0),
    })
}

/// The branch of a driver: 580 of `580.95.05`.
pub(crate) fn major(driver: &str) -> Option<u32> {
    driver.trim().split('.').next()?.parse().ok()
}

fn version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.trim().split_once('.')?;
    Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "\
Tue Nov 24 12:00:00 2026
+-----------------------------------------------------------------------------------------+
| NVIDIA-SMI 550.163.01             Driver Version: 550.163.01     CUDA Version: 12.4     |
|-----------------------------------------+------------------------+----------------------+";

    #[test]
    fn the_table_and_the_header_are_read() {
        let gpus = parse("0, NVIDIA RTX A6000, 49140, 48512, 550.163.01, 8.6\n", HEADER).unwrap();
        assert_eq!(gpus.len(), 1);
        assert_eq!((gpus[0].cuda, gpus[0].compute, gpus[0].memory_total), ((12, 4), (8, 6), 49140 << 20));
    }

    #[test]
    fn without_a_header_the_driver_tells_which_cuda_it_runs() {
        let table = "0, NVIDIA H100 80GB HBM3, 81559, 81004, 580.95.05, 9.0\n1, NVIDIA H100 80GB HBM3, 81559, 1, 580.95.05, 9.0";
        let gpus = parse(table, "").unwrap();
        assert_eq!((gpus.len(), gpus[1].cuda), (2, (13, 0)));
    }

    #[test]
    fn broken_answers_are_told_and_never_taken_for_gpus() {
        for table in
            ["0, NVIDIA RTX A6000, [N/A], [N/A], 550.163.01, 8.6", "No devices were found", "0, a, 1, 1, x, 8", ",,,,,"]
        {
            let error = parse(table, HEADER).unwrap_err();
            assert!(error.contains(table), "{error}");
        }
        assert_eq!(parse("\n \n", HEADER).unwrap_err(), "nvidia-smi knows no GPU");
        assert!(parse(&format!("0, x, {}, 1, 580.1, 9.0", u64::MAX), "").is_err());
    }
}
