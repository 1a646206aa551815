// A step of Adam on CUDA, one thread for each element. NVRTC compiles this source at run time.

template <typename T>
__device__ void adam(unsigned long long count, T one_minus_beta1, T beta2, T one_minus_beta2, T eps, T l2, T shrink,
                     T step_size, T root_correction, const T* gradient, T* mean, T* square, T* parameter) {
    const unsigned long long at = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= count) return;
    const T p = parameter[at], g = gradient[at] + l2 * p;
    const T m = mean[at] + (g - mean[at]) * one_minus_beta1;
    const T v = square[at] * beta2 + g * g * one_minus_beta2;
    mean[at] = m;
    square[at] = v;
    parameter[at] = p * shrink - step_size * (m / (sqrt(v) / root_correction + eps));
}

#define FOR_TYPE(T, NAME)                                                                                             \
    extern "C" __global__ void adam_##NAME(unsigned long long count, T one_minus_beta1, T beta2, T one_minus_beta2,   \
                                           T eps, T l2, T shrink, T step_size, T root_correction, const T* gradient,  \
                                           T* mean, T* square, T* parameter) {                                        \
        adam<T>(count, one_minus_beta1, beta2, one_minus_beta2, eps, l2, shrink, step_size, root_correction,          \
                gradient, mean, square, parameter);                                                                   \
    }

FOR_TYPE(float, f32)
FOR_TYPE(double, f64)
