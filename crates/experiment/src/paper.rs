//! What a paper claims, as data.

use report::Scale;

use crate::error::Error;

/// A paper and the claims that its reproduction looks at.
#[derive(Debug, Clone)]
pub struct Paper {
    /// Short name: the example's name and the folder of the run. Lower-case letters, digits, `-` and `_`.
    pub slug: &'static str,
    /// Title as printed.
    pub title: &'static str,
    /// Authors as printed.
    pub authors: &'static str,
    /// Where it appeared.
    pub venue: &'static str,
    /// Where it can be read. Only `http` and `https` addresses become links in the report.
    pub url: &'static str,
    /// The claims, in the order of the report.
    pub claims: &'static [Claim],
}

/// One statement of a paper that a number can support or refute.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Short name, unique in the paper.
    pub id: &'static str,
    /// The statement, in one sentence.
    pub statement: &'static str,
    /// The number in the paper, when it gives one. Shown beside the measured value, never in place of it.
    pub published: Option<Published>,
    /// How the measured value is judged.
    pub judge: Judge,
    /// Unit of the value, its spread and the judge's numbers: `%`, `s`, `accuracy`.
    pub unit: &'static str,
    /// The scales at which the claim is tested; at others the verdict is [`Verdict::NotTested`](crate::Verdict::NotTested).
    pub scales: &'static [Scale],
}

impl Claim {
    /// A claim for which the paper prints no number.
    pub const fn new(
        id: &'static str,
        statement: &'static str,
        judge: Judge,
        unit: &'static str,
        scales: &'static [Scale],
    ) -> Self {
        Self { id, statement, published: None, judge, unit, scales }
    }
}

/// A number that stands in a paper.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Published {
    /// The number, in the claim's unit.
    pub value: f64,
    /// Its spread as the paper gives it, in the claim's unit.
    pub spread: Option<f64>,
    /// Where it stands, and how we know it: published, quoted, recalled or derived.
    pub source: &'static str,
}

/// How a measured value `v` is judged. A value that is not finite is never reproduced.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Judge {
    /// Reproduced when `|v - target| <= tolerance`.
    Within {
        /// The expected value.
        target: f64,
        /// The largest accepted distance, 0 or more.
        tolerance: f64,
    },
    /// Reproduced when `v >= bound`. "A beats B by m" is the difference A - B at least m.
    AtLeast(f64),
    /// Reproduced when `v <= bound`.
    AtMost(f64),
    /// The value is shown, and never called reproduced.
    ReportOnly,
}

impl Paper {
    /// Whether the description can be run: a slug that is a folder name, unique claim ids, finite judges.
    ///
    /// # Errors
    /// [`Error::Paper`] with the first contradiction.
    pub fn check(&self) -> Result<(), Error> {
        let fail = |reason: String| Err(Error::Paper { slug: self.slug.to_owned(), reason });
        let is_slug_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if self.slug.is_empty() || !self.slug.chars().all(is_slug_letter) {
            return fail("the slug must be made of a-z, 0-9, `-` and `_`".into());
        }
        for (index, claim) in self.claims.iter().enumerate() {
            if claim.id.is_empty() {
                return fail(format!("claim {index} has an empty id"));
            }
            if self.claims[..index].iter().any(|earlier| earlier.id == claim.id) {
                return fail(format!("two claims have the id `{}`", claim.id));
            }
            let is_sound = match claim.judge {
                Judge::Within { target, tolerance } => target.is_finite() && tolerance.is_finite() && tolerance >= 0.0,
                Judge::AtLeast(bound) | Judge::AtMost(bound) => bound.is_finite(),
                Judge::ReportOnly => true,
            };
            if !is_sound {
                return fail(format!("the judge of claim `{}` needs finite numbers and a tolerance >= 0", claim.id));
            }
            if claim.published.is_some_and(|published| !published.value.is_finite()) {
                return fail(format!("the published value of claim `{}` is not finite", claim.id));
            }
        }
        Ok(())
    }
}
