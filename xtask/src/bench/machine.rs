//! The processor that a ratio was measured on: ratios hold for one kind of processor.

use std::process::Command;

use crate::process;

/// The processor of this machine.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Processor {
    /// Vendor, family and vector extensions: `AMD family 26, AVX-512`
    pub(super) class: String,
    /// What it calls itself: `AMD EPYC`
    pub(super) model: String,
}

impl Processor {
    pub(super) fn of_this_machine() -> Self {
        match std::fs::read_to_string("/proc/cpuinfo") {
            Ok(text) => Self::from_cpuinfo(&text),
            Err(_) => {
                let brand = process::output(Command::new("sysctl").args(["-n", "machdep.cpu.brand_string"]));
                let model = brand.map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned());
                Self { class: format!("{model}, {}", std::env::consts::ARCH), model }
            }
        }
    }

    /// From the text of Linux, which names fields differently for each architecture.
    fn from_cpuinfo(text: &str) -> Self {
        let field = |name: &str| {
            text.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                (key.trim() == name).then(|| value.trim())
            })
        };
        let vendor = match field("vendor_id").or_else(|| field("CPU implementer")) {
            Some("AuthenticAMD") => "AMD",
            Some("GenuineIntel") => "Intel",
            Some(other) => other,
            None => "unknown",
        };
        let family = match (field("cpu family"), field("CPU part")) {
            (Some(family), _) => format!(" family {family}"),
            (None, Some(part)) => format!(" part {part}"),
            (None, None) => String::new(),
        };
        let flags: Vec<&str> =
            field("flags").or_else(|| field("Features")).map(|flags| flags.split(' ').collect()).unwrap_or_default();
        let known = [("avx512f", "AVX-512"), ("avx2", "AVX2"), ("sve", "SVE"), ("asimd", "NEON")];
        let vectors = known.into_iter().find(|(flag, _)| flags.contains(flag));
        let vectors = vectors.map_or(std::env::consts::ARCH, |(_, name)| name);
        let model = field("model name").unwrap_or("unknown").to_owned();
        Self { class: format!("{vendor}{family}, {vectors}"), model }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_told_apart_by_vendor_family_and_vectors() {
        let text = "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 26\nmodel\t\t: 2\nmodel name\t: AMD EPYC\n\
                    flags\t\t: fpu sse2 avx2 avx512f avx512vl\n";
        let amd = Processor::from_cpuinfo(text);
        assert_eq!((amd.class.as_str(), amd.model.as_str()), ("AMD family 26, AVX-512", "AMD EPYC"));
        let intel = text.replace("AuthenticAMD", "GenuineIntel").replace("26", "6").replace(" avx512f", "");
        assert_eq!(Processor::from_cpuinfo(&intel).class, "Intel family 6, AVX2");
        let arm = "processor\t: 0\nFeatures\t: fp asimd sve\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n";
        assert_eq!(Processor::from_cpuinfo(arm).class, "0x41 part 0xd40, SVE");
        assert!(Processor::from_cpuinfo("").class.starts_with("unknown"));
    }
}
