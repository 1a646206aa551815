//! Explicit Runge-Kutta methods as data.

use crate::{Error, Result};

/// An explicit Runge-Kutta method with `s` stages, and optionally an estimate of its error and a polynomial inside of a step:
///
/// ```text
/// kᵢ = f(t + cᵢ h, y + h Σ_{j<i} aᵢⱼ kⱼ),    y₁ = y + h Σ bᵢ kᵢ,    e = h (Σ eᵢ kᵢ + e_{s+1} f(t + h, y₁)),
/// y(t + x h) = y + h (Σ pᵢ(x) kᵢ + p_{s+1}(x) f(t + h, y₁)).
/// ```
///
/// The slope at the end, `f(t + h, y₁)`, is the first stage of the next step, so it costs nothing where the next step needs it anyway ("first same as last" is the rule here, not a property of some methods).
///
/// | constructor | stages | order | estimate | inside of a step |
/// |---|---|---|---|---|
/// | [`euler`](Self::euler) | 1 | 1 | none | cubic Hermite |
/// | [`midpoint`](Self::midpoint) | 2 | 2 | Euler's, order 1 | cubic Hermite |
/// | [`heun`](Self::heun) | 2 | 2 | Euler's, order 1 | cubic Hermite |
/// | [`rk4`](Self::rk4) | 4 | 4 | none | cubic Hermite |
/// | [`rk4_38`](Self::rk4_38), the 3/8 rule | 4 | 4 | none | cubic Hermite |
/// | [`bosh3`](Self::bosh3), Bogacki-Shampine | 3 | 3 | order 2 | cubic Hermite |
/// | [`dopri5`](Self::dopri5), Dormand-Prince, the default | 6 | 5 | order 4 | quartic, order 4 |
/// | [`tsit5`](Self::tsit5), Tsitouras | 6 | 5 | order 4 | quartic, order 4 |
/// | [`dopri8`](Self::dopri8), Prince-Dormand 8(7) with 13 stages | 13 | 8 | order 7 | sextic |
///
/// Sources: Hairer, Nørsett, Wanner, *Solving Ordinary Differential Equations I*, II.1-II.6; Bogacki, Shampine 1989; Dormand, Prince 1980; Prince, Dormand 1981; Tsitouras 2011 (the weights of order 5 are those that are propagated).
#[derive(Debug, Clone, PartialEq)]
pub struct Tableau {
    name: String,
    nodes: Vec<f64>,
    rows: Vec<Vec<f64>>,
    weights: Vec<f64>,
    error_weights: Option<Vec<f64>>,
    order: usize,
    embedded_order: usize,
    interpolant: Interpolant,
}

/// The polynomial inside of a step: for each stage, and last for the slope at the end, the coefficients of `x, x², …` in its weight `pᵢ(x)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Interpolant {
    coefficients: Vec<Vec<f64>>,
}

/// A condition that a method of some order must satisfy, and by how much it is missed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OrderCondition {
    /// The order that needs it.
    pub order: usize,
    /// The condition, with weights b, nodes c and rows A.
    pub condition: &'static str,
    /// Left side minus right side.
    pub residual: f64,
}

/// How far sums may be from what they must be: some published coefficients are fractions that approximate irrational numbers.
const TOLERANCE: f64 = 1e-9;

impl Interpolant {
    /// The cubic that has the values and slopes of both ends, for a method with these weights.
    pub fn hermite(weights: &[f64]) -> Self {
        let mut coefficients: Vec<Vec<f64>> = weights.iter().map(|b| vec![0., 3. * b, -2. * b]).collect();
        coefficients.push(vec![0., -1., 1.]);
        if let Some(first) = coefficients.first_mut() {
            for (coefficient, of_slope) in first.iter_mut().zip([1., -2., 1.]) {
                *coefficient += of_slope;
            }
        }
        Self { coefficients }
    }

    /// The straight line between both ends.
    pub fn linear(weights: &[f64]) -> Self {
        let mut coefficients: Vec<Vec<f64>> = weights.iter().map(|&b| vec![b]).collect();
        coefficients.push(vec![0.]);
        Self { coefficients }
    }

    /// The quartic that has values and slopes of both ends and the value `y + h Σ mᵢ kᵢ` in the middle; `middle` has a weight for each stage and the slope at the end.
    ///
    /// # Errors
    ///
    /// When there is not one weight more in `middle` than in `weights`.
    pub fn quartic(weights: &[f64], middle: &[f64]) -> Result<Self> {
        if middle.len() != weights.len() + 1 {
            let (got, expected) = (middle.len(), weights.len() + 1);
            return Err(Error::Length { operation: "Interpolant", what: "weights of the middle", got, expected });
        }
        // with a for x⁴ … d for x, in units of h: a = 2(f₁ − f₀) − 8 Δ + 16 m, b = 5 f₀ − 3 f₁ + 14 Δ − 32 m, c = f₁ − 4 f₀ − 5 Δ + 16 m, d = f₀
        let last = weights.len();
        let coefficients = middle.iter().enumerate().map(|(i, &m)| {
            let delta = weights.get(i).copied().unwrap_or(0.);
            let (f0, f1) = (f64::from(i == 0), f64::from(i == last));
            vec![
                f0,
                f1 - 4. * f0 - 5. * delta + 16. * m,
                5. * f0 - 3. * f1 + 14. * delta - 32. * m,
                2. * (f1 - f0) - 8. * delta + 16. * m,
            ]
        });
        Ok(Self { coefficients: coefficients.collect() })
    }

    /// Any polynomials: for each stage, and last for the slope at the end, the coefficients of `x, x², …`.
    pub fn polynomial(coefficients: Vec<Vec<f64>>) -> Self {
        Self { coefficients }
    }

    /// The weights `pᵢ(x)` at a fraction `x` of the step.
    pub fn weights(&self, x: f64) -> Vec<f64> {
        self.coefficients.iter().map(|row| x * row.iter().rev().fold(0., |sum, c| sum * x + c)).collect()
    }

    /// The derivatives `p′ᵢ(x)`.
    pub fn slopes(&self, x: f64) -> Vec<f64> {
        let slope =
            |row: &Vec<f64>| row.iter().enumerate().rev().fold(0., |sum, (at, c)| sum * x + (at + 1) as f64 * c);
        self.coefficients.iter().map(slope).collect()
    }
}

impl Tableau {
    /// A method of one's own. `nodes` has `s` elements with 0 first, `rows` the `s` rows of A below the diagonal (the first is empty), `weights` `s` elements, `error_weights` `s + 1` (the last for the slope at the end).
    ///
    /// # Errors
    ///
    /// When lengths do not fit each other, a number is not finite, a row does not sum to its node or the weights to 1 within 1e-9, the error weights do not sum to 0, the polynomial is not the step's
    /// result at its end, or an order is 0.
    pub fn new(
        name: impl Into<String>,
        (nodes, rows): (Vec<f64>, Vec<Vec<f64>>),
        weights: Vec<f64>,
        error_weights: Option<Vec<f64>>,
        (order, embedded_order): (usize, usize),
        interpolant: Option<Interpolant>,
    ) -> Result<Self> {
        let operation = "Tableau";
        let length = |what, got, expected| match got == expected {
            true => Ok(()),
            false => Err(Error::Length { operation, what, got, expected }),
        };
        let stages = nodes.len();
        if stages == 0 || stages > 64 {
            return Err(Error::count(operation, "the number of stages", stages, "1 to 64"));
        }
        if order == 0 || (error_weights.is_some() && embedded_order == 0) {
            return Err(Error::config(operation, "the order", 0., "at least 1"));
        }
        length("rows", rows.len(), stages)?;
        length("weights", weights.len(), stages)?;
        if let Some(errors) = &error_weights {
            length("error weights", errors.len(), stages + 1)?;
        }
        let interpolant = interpolant.unwrap_or_else(|| Interpolant::hermite(&weights));
        length("polynomials", interpolant.coefficients.len(), stages + 1)?;
        let all = nodes.iter().chain(rows.iter().flatten()).chain(&weights).chain(error_weights.iter().flatten());
        if let Some(&number) = all.chain(interpolant.coefficients.iter().flatten()).find(|number| !number.is_finite()) {
            return Err(Error::config(operation, "a coefficient", number, "a finite number"));
        }
        for (stage, (row, &node)) in rows.iter().zip(&nodes).enumerate() {
            length("a row", row.len(), stage)?;
            let sum: f64 = row.iter().sum();
            if (sum - node).abs() > TOLERANCE {
                return Err(Error::config(
                    operation,
                    format!("the sum of row {stage}"),
                    sum,
                    format!("its node, {node}"),
                ));
            }
        }
        let sum: f64 = weights.iter().sum();
        if (sum - 1.).abs() > TOLERANCE {
            return Err(Error::config(operation, "the sum of the weights", sum, "1"));
        }
        if let Some(sum) = error_weights.as_ref().map(|weights| weights.iter().sum::<f64>())
            && sum.abs() > TOLERANCE
        {
            return Err(Error::config(operation, "the sum of the error weights", sum, "0"));
        }
        for (stage, &end) in interpolant.weights(1.).iter().enumerate() {
            let weight = weights.get(stage).copied().unwrap_or(0.);
            if (end - weight).abs() > 1e-6 {
                return Err(Error::config(
                    operation,
                    format!("the polynomial of stage {stage} at 1"),
                    end,
                    format!("its weight, {weight}"),
                ));
            }
        }
        Ok(Self { name: name.into(), nodes, rows, weights, error_weights, order, embedded_order, interpolant })
    }

    /// One of the methods below, whose coefficients the tests check.
    fn known(name: &str, nodes: &[f64], rows: &[&[f64]], weights: &[f64], orders: (usize, usize)) -> Self {
        Self {
            name: name.to_owned(),
            nodes: nodes.to_vec(),
            rows: rows.iter().map(|row| row.to_vec()).collect(),
            weights: weights.to_vec(),
            error_weights: None,
            order: orders.0,
            embedded_order: orders.1,
            interpolant: Interpolant::hermite(weights),
        }
    }

    fn with_errors(mut self, errors: &[f64]) -> Self {
        self.error_weights = Some(errors.to_vec());
        self
    }

    /// Euler's method.
    pub fn euler() -> Self {
        Self::known("euler", &[0.], &[&[]], &[1.], (1, 0))
    }

    /// The midpoint rule.
    pub fn midpoint() -> Self {
        Self::known("midpoint", &[0., 0.5], &[&[], &[0.5]], &[0., 1.], (2, 1)).with_errors(&[-1., 1., 0.])
    }

    /// Heun's method, the explicit trapezoidal rule.
    pub fn heun() -> Self {
        Self::known("heun", &[0., 1.], &[&[], &[1.]], &[0.5, 0.5], (2, 1)).with_errors(&[-0.5, 0.5, 0.])
    }

    /// The classic method of order 4.
    pub fn rk4() -> Self {
        let rows: [&[f64]; 4] = [&[], &[0.5], &[0., 0.5], &[0., 0., 1.]];
        Self::known("rk4", &[0., 0.5, 0.5, 1.], &rows, &[1. / 6., 1. / 3., 1. / 3., 1. / 6.], (4, 0))
    }

    /// The 3/8 rule, which torchdiffeq calls `rk4`.
    pub fn rk4_38() -> Self {
        let rows: [&[f64]; 4] = [&[], &[1. / 3.], &[-1. / 3., 1.], &[1., -1., 1.]];
        Self::known("rk4_38", &[0., 1. / 3., 2. / 3., 1.], &rows, &[0.125, 0.375, 0.375, 0.125], (4, 0))
    }

    /// Bogacki and Shampine's pair 3(2).
    pub fn bosh3() -> Self {
        let weights = [2. / 9., 1. / 3., 4. / 9.];
        Self::known("bosh3", &[0., 0.5, 0.75], &[&[], &[0.5], &[0., 0.75]], &weights, (3, 2)).with_errors(&[
            2. / 9. - 7. / 24.,
            1. / 3. - 1. / 4.,
            4. / 9. - 1. / 3.,
            -1. / 8.,
        ])
    }

    /// Dormand and Prince's pair 5(4).
    pub fn dopri5() -> Self {
        let rows: [&[f64]; 6] = [
            &[],
            &[1. / 5.],
            &[3. / 40., 9. / 40.],
            &[44. / 45., -56. / 15., 32. / 9.],
            &[19372. / 6561., -25360. / 2187., 64448. / 6561., -212. / 729.],
            &[9017. / 3168., -355. / 33., 46732. / 5247., 49. / 176., -5103. / 18656.],
        ];
        let weights = [35. / 384., 0., 500. / 1113., 125. / 192., -2187. / 6784., 11. / 84.];
        let errors = [
            35. / 384. - 1951. / 21600.,
            0.,
            500. / 1113. - 22642. / 50085.,
            125. / 192. - 451. / 720.,
            -2187. / 6784. + 12231. / 42400.,
            11. / 84. - 649. / 6300.,
            -1. / 60.,
        ];
        let middle = [
            6025192743. / 30085553152. / 2.,
            0.,
            51252292925. / 65400821598. / 2.,
            -2691868925. / 45128329728. / 2.,
            187940372067. / 1594534317056. / 2.,
            -1776094331. / 19743644256. / 2.,
            11237099. / 235043384. / 2.,
        ];
        let nodes = [0., 0.2, 0.3, 0.8, 8. / 9., 1.];
        let mut method = Self::known("dopri5", &nodes, &rows, &weights, (5, 4)).with_errors(&errors);
        if let Ok(quartic) = Interpolant::quartic(&weights, &middle) {
            method.interpolant = quartic;
        }
        method
    }

    /// Tsitouras' pair 5(4).
    pub fn tsit5() -> Self {
        let rows: [&[f64]; 6] = [
            &[],
            &[0.161],
            &[-0.008_480_655_492_356_989, 0.335_480_655_492_357],
            &[2.897_153_057_105_493_4, -6.359_448_489_975_075, 4.362_295_432_869_581],
            &[5.325_864_828_439_257, -11.748_883_564_062_828, 7.495_539_342_889_836_5, -0.092_495_066_361_755_25],
            &[
                5.861_455_442_946_42,
                -12.920_969_317_847_11,
                8.159_367_898_576_159,
                -0.071_584_973_281_401,
                -0.028_269_050_394_068_383,
            ],
        ];
        let weights = [
            0.096_460_766_818_065_23,
            0.01,
            0.479_889_650_414_499_6,
            1.379_008_574_103_742,
            -3.290_069_515_436_081,
            2.324_710_524_099_774,
        ];
        let embedded = [
            0.094_680_755_765_839_46,
            0.009_183_565_540_343_254,
            0.487_770_528_424_761_6,
            1.234_297_566_930_479,
            -2.707_712_349_983_525_5,
            1.866_628_418_170_587,
        ];
        let mut errors: Vec<f64> = weights.iter().zip(&embedded).map(|(b, e)| b - e).collect();
        errors.push(-1. / 66.);
        // products of factors, as published: scale · x · (x − r) · (x² + p x + q) and the like, multiplied out
        let square_times = |scale: f64, p: f64, q: f64| vec![0., scale * q, scale * p, scale];
        let roots = |scale: f64, a: f64, b: f64| square_times(scale, -(a + b), a * b);
        let (scale, root, p, q) =
            (-1.053_088_497_729_021_6, 1.329_989_018_975_141, -1.436_402_854_171_635_1, 0.713_981_691_707_420_9);
        let interpolant = Interpolant::polynomial(vec![
            vec![-scale * root * q, scale * (q - root * p), scale * (p - root), scale],
            square_times(0.1017, -2.196_656_833_824_975_4, 1.294_985_250_737_463),
            square_times(2.490_627_285_651_253, -2.385_356_454_720_616_6, 1.578_034_682_080_925),
            roots(-16.548_102_889_244_902, 1.217_129_272_955_332_4, 0.616_204_060_378_000_9),
            roots(47.379_521_962_819_28, 1.203_071_208_372_362_6, 0.658_047_292_653_547_4),
            roots(-34.870_657_861_496_61, 1.2, 0.666_666_666_666_666_7),
            roots(2.5, 1., 0.6),
        ]);
        let nodes = [0., 0.161, 0.327, 0.9, 0.980_025_540_904_509_7, 1.];
        let mut method = Self::known("tsit5", &nodes, &rows, &weights, (5, 4)).with_errors(&errors);
        method.interpolant = interpolant;
        method
    }

    /// Prince and Dormand's pair 8(7) with 13 stages.
    pub fn dopri8() -> Self {
        let rows: [&[f64]; 13] = [
            &[],
            &[1. / 18.],
            &[1. / 48., 1. / 16.],
            &[1. / 32., 0., 3. / 32.],
            &[5. / 16., 0., -75. / 64., 75. / 64.],
            &[3. / 80., 0., 0., 3. / 16., 3. / 20.],
            &[
                29443841. / 614563906.,
                0.,
                0.,
                77736538. / 692538347.,
                -28693883. / 1125000000.,
                23124283. / 1800000000.,
            ],
            &[
                16016141. / 946692911.,
                0.,
                0.,
                61564180. / 158732637.,
                22789713. / 633445777.,
                545815736. / 2771057229.,
                -180193667. / 1043307555.,
            ],
            &[
                39632708. / 573591083.,
                0.,
                0.,
                -433636366. / 683701615.,
                -421739975. / 2616292301.,
                100302831. / 723423059.,
                790204164. / 839813087.,
                800635310. / 3783071287.,
            ],
            &[
                246121993. / 1340847787.,
                0.,
                0.,
                -37695042795. / 15268766246.,
                -309121744. / 1061227803.,
                -12992083. / 490766935.,
                6005943493. / 2108947869.,
                393006217. / 1396673457.,
                123872331. / 1001029789.,
            ],
            &[
                -1028468189. / 846180014.,
                0.,
                0.,
                8478235783. / 508512852.,
                1311729495. / 1432422823.,
                -10304129995. / 1701304382.,
                -48777925059. / 3047939560.,
                15336726248. / 1032824649.,
                -45442868181. / 3398467696.,
                3065993473. / 597172653.,
            ],
            &[
                185892177. / 718116043.,
                0.,
                0.,
                -3185094517. / 667107341.,
                -477755414. / 1098053517.,
                -703635378. / 230739211.,
                5731566787. / 1027545527.,
                5232866602. / 850066563.,
                -4093664535. / 808688257.,
                3962137247. / 1805957418.,
                65686358. / 487910083.,
            ],
            &[
                403863854. / 491063109.,
                0.,
                0.,
                -5068492393. / 434740067.,
                -411421997. / 543043805.,
                652783627. / 914296604.,
                11173962825. / 925320556.,
                -13158990841. / 6184727034.,
                3936647629. / 1978049680.,
                -160528059. / 685178525.,
                248638103. / 1413531060.,
                0.,
            ],
        ];
        let weights = [
            14005451. / 335480064.,
            0.,
            0.,
            0.,
            0.,
            -59238493. / 1068277825.,
            181606767. / 758867731.,
            561292985. / 797845732.,
            -1041891430. / 1371343529.,
            760417239. / 1151165299.,
            118820643. / 751138087.,
            -528747749. / 2220607170.,
            0.25,
        ];
        let embedded = [
            13451932. / 455176623.,
            0.,
            0.,
            0.,
            0.,
            -808719846. / 976000145.,
            1757004468. / 5645159321.,
            656045339. / 265891186.,
            -3867574721. / 1518517206.,
            465885868. / 322736535.,
            53011238. / 667516719.,
            2. / 45.,
            0.,
        ];
        let mut errors: Vec<f64> = weights.iter().zip(&embedded).map(|(b, e)| b - e).collect();
        errors.push(0.);
        let nodes = [
            0.,
            1. / 18.,
            1. / 12.,
            1. / 8.,
            5. / 16.,
            3. / 8.,
            59. / 400.,
            93. / 200.,
            5490023248. / 9719169821.,
            13. / 20.,
            1201146811. / 1299019798.,
            1.,
            1.,
        ];
        let mut method = Self::known("dopri8", &nodes, &rows, &weights, (8, 7)).with_errors(&errors);
        method.interpolant = Interpolant::polynomial(DOPRI8_POLYNOMIALS.iter().map(|row| row.to_vec()).collect());
        method
    }

    /// All of the above, by their names.
    pub fn all() -> Vec<Self> {
        vec![
            Self::euler(),
            Self::midpoint(),
            Self::heun(),
            Self::rk4(),
            Self::rk4_38(),
            Self::bosh3(),
            Self::dopri5(),
            Self::tsit5(),
            Self::dopri8(),
        ]
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number `s` of stages.
    pub fn num_stages(&self) -> usize {
        self.nodes.len()
    }

    /// The nodes c.
    pub fn nodes(&self) -> &[f64] {
        &self.nodes
    }

    /// The rows of A below the diagonal.
    pub fn rows(&self) -> &[Vec<f64>] {
        &self.rows
    }

    /// The weights b.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The weights of the error's estimate, the last for the slope at the end; `None` for methods that have no estimate and so need fixed steps.
    pub fn error_weights(&self) -> Option<&[f64]> {
        self.error_weights.as_deref()
    }

    /// The order of the result.
    pub fn order(&self) -> usize {
        self.order
    }

    /// The order of the result that the error is estimated with.
    pub fn embedded_order(&self) -> usize {
        self.embedded_order
    }

    /// The polynomial inside of a step.
    pub fn interpolant(&self) -> &Interpolant {
        &self.interpolant
    }

    /// Whether the error's estimate needs the slope at the end.
    pub(crate) fn error_needs_end(&self) -> bool {
        self.error_weights.as_ref().and_then(|weights| weights.last()).is_some_and(|&last| last != 0.)
    }

    /// The 17 conditions of orders 1 to 5, and of higher orders those of quadrature, Σ b cᵏ⁻¹ = 1/k, up to the method's order: what is left of each.
    pub fn order_conditions(&self) -> Vec<OrderCondition> {
        conditions(self.order, &self.weights, &self.nodes, &self.rows)
    }

    /// [`Tableau::order_conditions`] of the result that the error is estimated with, as far as that has the method's own stages: nothing without an estimate, and nothing where the slope at the end enters.
    pub fn embedded_order_conditions(&self) -> Vec<OrderCondition> {
        let Some(errors) = self.error_weights() else { return Vec::new() };
        let (mut nodes, mut rows) = (self.nodes.clone(), self.rows.clone());
        nodes.push(1.);
        rows.push(self.weights.clone());
        let own = self.weights.iter().copied().chain([0.]);
        let weights: Vec<f64> = own.zip(errors).map(|(b, e)| b - e).collect();
        conditions(self.embedded_order, &weights, &nodes, &rows)
    }
}

fn conditions(order: usize, b: &[f64], c: &[f64], rows: &[Vec<f64>]) -> Vec<OrderCondition> {
    let times = |x: &[f64], y: &[f64]| -> Vec<f64> { x.iter().zip(y).map(|(x, y)| x * y).collect() };
    let apply =
        |x: &[f64]| -> Vec<f64> { rows.iter().map(|row| row.iter().zip(x).map(|(a, x)| a * x).sum()).collect() };
    let sum = |x: &[f64]| -> f64 { b.iter().zip(x).map(|(b, x)| b * x).sum() };
    let one = vec![1.; c.len()];
    let (c2, ac) = (times(c, c), apply(c));
    let c3 = times(&c2, c);
    let (ac2, aac) = (apply(&c2), apply(&ac));
    let small: [(usize, &'static str, Vec<f64>, f64); 17] = [
        (1, "b = 1", one, 1.),
        (2, "b c = 1/2", c.to_vec(), 1. / 2.),
        (3, "b c² = 1/3", c2.clone(), 1. / 3.),
        (3, "b A c = 1/6", ac.clone(), 1. / 6.),
        (4, "b c³ = 1/4", c3.clone(), 1. / 4.),
        (4, "b c Ac = 1/8", times(c, &ac), 1. / 8.),
        (4, "b A c² = 1/12", ac2.clone(), 1. / 12.),
        (4, "b A A c = 1/24", aac.clone(), 1. / 24.),
        (5, "b c⁴ = 1/5", times(&c3, c), 1. / 5.),
        (5, "b c² Ac = 1/10", times(&c2, &ac), 1. / 10.),
        (5, "b (Ac)² = 1/20", times(&ac, &ac), 1. / 20.),
        (5, "b c Ac² = 1/15", times(c, &ac2), 1. / 15.),
        (5, "b c AAc = 1/30", times(c, &aac), 1. / 30.),
        (5, "b A c³ = 1/20", apply(&c3), 1. / 20.),
        (5, "b A (c Ac) = 1/40", apply(&times(c, &ac)), 1. / 40.),
        (5, "b A A c² = 1/60", apply(&ac2), 1. / 60.),
        (5, "b A A A c = 1/120", apply(&aac), 1. / 120.),
    ];
    let small = small.into_iter().filter(|(of, ..)| *of <= order);
    let mut all: Vec<OrderCondition> = small
        .map(|(order, condition, left, right)| OrderCondition { order, condition, residual: sum(&left) - right })
        .collect();
    for k in 6..=order {
        let power: Vec<f64> = c.iter().map(|c| c.powi(k as i32 - 1)).collect();
        all.push(OrderCondition { order: k, condition: "b cᵏ⁻¹ = 1/k", residual: sum(&power) - 1. / k as f64 });
    }
    all
}

/// The weights of [`Tableau::dopri8`]'s stages inside of a step: coefficients of x, x², … (Bogacki, Shampine 1990).
const DOPRI8_POLYNOMIALS: [[f64; 6]; 14] = [
    [1.0, -6.6910181737837595, 19.999006933368396, -30.061056828966645, 22.139650499809406, -6.34483493928604],
    [0., 0., 0., 0., 0., 0.],
    [0., 0., 0., 0., 0., 0.],
    [0., 0., 0., 0., 0., 0.],
    [0., 0., 0., 0., 0., 0.],
    [0., -7.6142658045872675, 52.227353279294555, -121.49996277313346, 116.44221495503422, -39.61079198522025],
    [0., 10.728139263042886, -46.89191641810936, 83.17210046398478, -67.14513188259572, 20.376121380879145],
    [0., 0.5526637063753649, -0.18908932250105956, 9.572450755599366, -16.56722435274965, 7.334709882679536],
    [0., 4.218656262566515, -35.70759759462221, 87.84060576772056, -89.9916014847245, 32.88017743524592],
    [0., -0.6627209125361597, 6.273644808324035, -17.415210777076297, 22.623748964853284, -10.158899052642676],
    [0., -1.2636789001135462, 10.316088127245076, -28.590328951479098, 32.23623401673554, -12.540126809878256],
    [0., 5.410603789859042, -34.76507698666118, 81.66309505843414, -82.10203154883598, 29.555300148451604],
    [0., -7.032137906794574, 47.745797107822554, -114.93752913770093, 116.26621857911195, -41.79234864243906],
    [0., 2.3537586759714983, -19.008209934160803, 50.255836422617605, -53.90207774663854, 20.300692582210083],
];
