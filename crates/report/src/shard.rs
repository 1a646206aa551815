//! The place of one process among those that share a reproduction.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::text::quoted;

/// Part `index` (from 0) of `count` parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// From 0.
    pub index: usize,
    /// 1 or more.
    pub count: usize,
}

/// What `--shard` was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum ShardChoice {
    /// `K/N`, where K counts from 1.
    Given(Shard),
    /// `auto`: the place that the launcher gives this process.
    Auto,
}

impl fmt::Display for ShardChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(shard) => write!(formatter, "{}/{}", shard.index + 1, shard.count),
            Self::Auto => formatter.write_str("auto"),
        }
    }
}

impl FromStr for ShardChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let expected = || shard_error(format!("`{}` is neither `auto` nor K/N with 1 <= K <= N", quoted(text)));
        let (place, count) = text.split_once('/').ok_or_else(expected)?;
        let place: usize = place.parse().map_err(|_| expected())?;
        let count: usize = count.parse().map_err(|_| expected())?;
        if place == 0 || place > count {
            return Err(expected());
        }
        Ok(Self::Given(Shard { index: place - 1, count }))
    }
}

impl ShardChoice {
    /// The shard; `auto` asks the environment variables of the launcher.
    ///
    /// # Errors
    /// [`Error::Shard`] when they are not there or contradict each other.
    pub fn resolve(self) -> Result<Shard, Error> {
        match self {
            Self::Given(shard) => Ok(shard),
            // What is not Unicode is no number either: the error shows it.
            Self::Auto => Shard::from_environment(|name| Some(std::env::var_os(name)?.to_string_lossy().into_owned())),
        }
    }
}

impl Shard {
    /// Whether trial `index` of `group` is this shard's. Groups start at different shards, so that many small groups
    /// do not all land on the first.
    pub fn owns(self, group: &str, index: usize) -> bool {
        let offset = group.bytes().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
        // Wide enough for the sum of any two places.
        let place = (offset as u128 + index as u128).checked_rem(self.count as u128);
        place == Some(self.index as u128)
    }

    /// Reads the place from the launcher: the rank in a job (Open MPI, PMI, Slurm, in this order, because `mpirun`
    /// inside a Slurm job sees Slurm's variables of the batch script), times the place in a Slurm job array.
    fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let number = |name: &str| -> Result<Option<usize>, Error> {
            let Some(text) = variable(name).filter(|text| !text.is_empty()) else { return Ok(None) };
            text.trim()
                .parse()
                .map(Some)
                .map_err(|_| shard_error(format!("{name}=`{}` is not a whole number", quoted(&text))))
        };
        let task = task_of_job(&number)?;
        let element = element_of_array(&number)?;
        if task.is_none() && element.is_none() {
            let problem = "`auto` found none of OMPI_COMM_WORLD_RANK, PMI_RANK, SLURM_PROCID, SLURM_ARRAY_TASK_ID; \
                           start under mpirun or srun, or give K/N";
            return Err(shard_error(problem));
        }
        let whole = Self { index: 0, count: 1 };
        let (task, element) = (task.unwrap_or(whole), element.unwrap_or(whole));
        let place = |at: usize, index: usize| at.checked_mul(task.count)?.checked_add(index);
        match (place(element.index, task.index), place(element.count, 0)) {
            (Some(index), Some(count)) => Ok(Self { index, count }),
            _ => Err(shard_error(format!("{} elements of {} tasks are too many", element.count, task.count))),
        }
    }
}

fn shard_error(reason: impl Into<String>) -> Error {
    Error::Shard { reason: reason.into() }
}

type Number<'a> = &'a dyn Fn(&str) -> Result<Option<usize>, Error>;

fn task_of_job(number: Number<'_>) -> Result<Option<Shard>, Error> {
    let launchers = [
        ("OMPI_COMM_WORLD_RANK", ["OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_SIZE"]),
        ("PMI_RANK", ["PMI_SIZE", "PMI_SIZE"]),
        ("SLURM_PROCID", ["SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"]),
    ];
    for (rank_name, size_names) in launchers {
        let Some(index) = number(rank_name)? else { continue };
        let count = match number(size_names[0])? {
            Some(count) => Some(count),
            None => number(size_names[1])?,
        };
        let count = count.ok_or_else(|| shard_error(format!("{rank_name} is set, {} is not", size_names[1])))?;
        if index >= count {
            return Err(shard_error(format!("{rank_name}={index} must be below {}={count}", size_names[1])));
        }
        return Ok(Some(Shard { index, count }));
    }
    Ok(None)
}

fn element_of_array(number: Number<'_>) -> Result<Option<Shard>, Error> {
    let Some(id) = number("SLURM_ARRAY_TASK_ID")? else { return Ok(None) };
    let first = number("SLURM_ARRAY_TASK_MIN")?.unwrap_or(0);
    let step = number("SLURM_ARRAY_TASK_STEP")?.unwrap_or(1).max(1);
    let count = match (number("SLURM_ARRAY_TASK_MAX")?, number("SLURM_ARRAY_TASK_COUNT")?) {
        (Some(last), _) if last < first => return Err(shard_error("SLURM_ARRAY_TASK_MAX is below _MIN")),
        (Some(last), None) => ((last - first) / step)
            .checked_add(1)
            .ok_or_else(|| shard_error(format!("SLURM_ARRAY_TASK_MAX={last} is too large")))?,
        (Some(last), Some(count)) if Some((last - first) / step) == count.checked_sub(1) => count,
        (None, Some(count)) => count,
        (Some(_), Some(_)) => {
            let problem = "the Slurm array has gaps, so a task cannot know its place; use --array=0-M, or give K/N";
            return Err(shard_error(problem));
        }
        (None, None) => return Err(shard_error("SLURM_ARRAY_TASK_ID is set, SLURM_ARRAY_TASK_MAX is not")),
    };
    let index = id.checked_sub(first).map(|distance| distance / step).filter(|index| *index < count);
    let index = index.ok_or_else(|| shard_error(format!("SLURM_ARRAY_TASK_ID={id} lies outside the array")))?;
    Ok(Some(Shard { index, count }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(variables: &[(&str, &str)]) -> Result<Shard, Error> {
        Shard::from_environment(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn places_count_from_one() {
        assert_eq!("1/4".parse::<ShardChoice>().unwrap(), ShardChoice::Given(Shard { index: 0, count: 4 }));
        assert_eq!("4/4".parse::<ShardChoice>().unwrap(), ShardChoice::Given(Shard { index: 3, count: 4 }));
        for wrong in ["0/4", "5/4", "1", "1/0", "-1/2", "a/b", "", "1/2/3"] {
            assert!(wrong.parse::<ShardChoice>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_trial_belongs_to_exactly_one_shard() {
        for count in 1..6 {
            for group in ["", "folds", "ünï"] {
                for trial in 0..20 {
                    let owners = (0..count).filter(|&index| Shard { index, count }.owns(group, trial)).count();
                    assert_eq!(owners, 1, "{count} {group} {trial}");
                }
            }
        }
        let last = Shard { index: usize::MAX - 1, count: usize::MAX };
        assert!(last.owns("", usize::MAX - 1) && !last.owns("", usize::MAX));
    }

    #[test]
    fn launchers_are_recognised() {
        let expected = Shard { index: 1, count: 3 };
        assert_eq!(shard(&[("OMPI_COMM_WORLD_RANK", "1"), ("OMPI_COMM_WORLD_SIZE", "3")]).unwrap(), expected);
        assert_eq!(shard(&[("PMI_RANK", "1"), ("PMI_SIZE", "3")]).unwrap(), expected);
        assert_eq!(shard(&[("SLURM_PROCID", "1"), ("SLURM_NTASKS", "3")]).unwrap(), expected);
        let array = [("SLURM_ARRAY_TASK_ID", "12"), ("SLURM_ARRAY_TASK_MIN", "10"), ("SLURM_ARRAY_TASK_MAX", "14")];
        let step = [("SLURM_ARRAY_TASK_STEP", "2"), ("SLURM_ARRAY_TASK_COUNT", "3")];
        assert_eq!(shard(&[array.as_slice(), step.as_slice()].concat()).unwrap(), expected);
    }

    #[test]
    fn mpirun_inside_a_slurm_job_wins_over_slurm() {
        let variables =
            [("SLURM_PROCID", "0"), ("SLURM_NTASKS", "8"), ("PMI_RANK", "1"), ("PMI_SIZE", "3"), ("PATH", "x")];
        assert_eq!(shard(&variables).unwrap(), Shard { index: 1, count: 3 });
    }

    #[test]
    fn an_array_of_jobs_with_several_tasks_covers_every_place_once() {
        let mut seen = Vec::new();
        for element in ["3", "4"] {
            for rank in ["0", "1", "2"] {
                let variables = [
                    ("SLURM_ARRAY_TASK_ID", element),
                    ("SLURM_ARRAY_TASK_MIN", "3"),
                    ("SLURM_ARRAY_TASK_MAX", "4"),
                    ("SLURM_PROCID", rank),
                    ("SLURM_NTASKS", "3"),
                ];
                let place = shard(&variables).unwrap();
                assert_eq!(place.count, 6);
                seen.push(place.index);
            }
        }
        assert_eq!(seen, [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn no_environment_makes_the_place_panic() {
        let numbers =
            ["0", "1", "2", "4294967296", "9223372036854775808", "18446744073709551615", "-1", "1e9", "\u{fffd}"];
        let rank = |rank, size| [("SLURM_PROCID", rank), ("SLURM_NTASKS", size)];
        for (size, count) in numbers.iter().flat_map(|size| numbers.map(|count| (*size, count))) {
            for id in numbers {
                let element = [("SLURM_ARRAY_TASK_ID", id), ("SLURM_ARRAY_TASK_COUNT", count)];
                for variables in [
                    [rank("0", size).as_slice(), &element].concat(),
                    [rank("1", size).as_slice(), &element].concat(),
                    vec![("SLURM_ARRAY_TASK_ID", id), ("SLURM_ARRAY_TASK_MAX", size), ("SLURM_ARRAY_TASK_STEP", count)],
                    vec![("SLURM_ARRAY_TASK_ID", id), ("SLURM_ARRAY_TASK_MAX", size), ("SLURM_ARRAY_TASK_MIN", count)],
                    [element.as_slice(), &[("SLURM_ARRAY_TASK_MAX", size)]].concat(),
                ] {
                    if let Ok(shard) = shard(&variables) {
                        assert!(shard.index < shard.count, "{variables:?}");
                        assert!([0, 1, usize::MAX].iter().filter(|&&index| shard.owns("g", index)).count() <= 3);
                    }
                }
            }
        }
        let both = [
            ("SLURM_PROCID", "0"),
            ("SLURM_NTASKS", "4294967296"),
            ("SLURM_ARRAY_TASK_ID", "1"),
            ("SLURM_ARRAY_TASK_COUNT", "4294967296"),
        ];
        assert!(shard(&both).unwrap_err().to_string().contains("too many"));
    }

    #[test]
    fn contradictions_are_errors() {
        assert!(shard(&[]).is_err());
        assert!(shard(&[("PMI_RANK", "3"), ("PMI_SIZE", "3")]).is_err());
        assert!(shard(&[("PMI_RANK", "1")]).is_err());
        assert!(shard(&[("PMI_RANK", "x"), ("PMI_SIZE", "3")]).is_err());
        let gaps = [
            ("SLURM_ARRAY_TASK_ID", "5"),
            ("SLURM_ARRAY_TASK_MIN", "1"),
            ("SLURM_ARRAY_TASK_MAX", "7"),
            ("SLURM_ARRAY_TASK_COUNT", "3"),
        ];
        assert!(shard(&gaps).is_err());
    }
}
