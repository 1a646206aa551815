// The sparse products on CUDA. NVRTC compiles this source at run time, so building needs no CUDA compiler.
// Every output element is computed by one thread (or one warp) in a fixed order: the results are deterministic.

// out[r, h, f] = sum over the slots of row r of values[entries[slot], h] * x[neighbours[slot], h, f];
// without values all are 1; with is_mean the sum is divided by the number of slots.
template <typename T>
__device__ void sparse_matmul(unsigned rows, unsigned heads, unsigned width, unsigned has_values, unsigned is_mean,
                              const unsigned* offsets, const unsigned* neighbours, const unsigned* entries,
                              const T* values, const T* x, T* out) {
    const size_t stride = (size_t)heads * width;
    const size_t at = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= rows * stride) return;
    const size_t row = at / stride, feature = at % stride, head = feature / width;
    const unsigned start = offsets[row], end = offsets[row + 1];
    T sum = 0;
    if (has_values) {
        for (unsigned slot = start; slot < end; ++slot)
            sum += values[(size_t)entries[slot] * heads + head] * x[neighbours[slot] * stride + feature];
    } else {
        for (unsigned slot = start; slot < end; ++slot) sum += x[neighbours[slot] * stride + feature];
        if (is_mean && end > start) sum /= (T)(end - start);
    }
    out[at] = sum;
}

// out[e, h] = <left[rows[e], h], right[cols[e], h]>: one warp for each output.
template <typename T>
__device__ void sampled_dot(unsigned entries, unsigned heads, unsigned width, const unsigned* rows,
                            const unsigned* cols, const T* left, const T* right, T* out) {
    const size_t at = ((size_t)blockIdx.x * blockDim.x + threadIdx.x) / 32;
    if (at >= (size_t)entries * heads) return;
    const size_t entry = at / heads, head = at % heads, stride = (size_t)heads * width;
    const T* a = left + rows[entry] * stride + head * width;
    const T* b = right + cols[entry] * stride + head * width;
    T sum = 0;
    for (unsigned f = threadIdx.x % 32; f < width; f += 32) sum += a[f] * b[f];
    for (int half = 16; half > 0; half /= 2) sum += __shfl_down_sync(0xffffffff, sum, half);
    if (threadIdx.x % 32 == 0) out[at] = sum;
}

#define FOR_TYPE(T, NAME)                                                                                           \
    extern "C" __global__ void sparse_matmul_##NAME(                                                                \
        unsigned rows, unsigned heads, unsigned width, unsigned has_values, unsigned is_mean,                       \
        const unsigned* offsets, const unsigned* neighbours, const unsigned* entries, const T* values, const T* x,  \
        T* out) {                                                                                                   \
        sparse_matmul<T>(rows, heads, width, has_values, is_mean, offsets, neighbours, entries, values, x, out);    \
    }                                                                                                               \
    extern "C" __global__ void sampled_dot_##NAME(                                                                  \
        unsigned entries, unsigned heads, unsigned width, const unsigned* rows, const unsigned* cols,               \
        const T* left, const T* right, T* out) {                                                                    \
        sampled_dot<T>(entries, heads, width, rows, cols, left, right, out);                                        \
    }

FOR_TYPE(float, f32)
FOR_TYPE(double, f64)
