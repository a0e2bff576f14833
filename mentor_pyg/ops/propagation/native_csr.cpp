// One layer of propagation on the CPU, a CSR product with its noise and layer sum; and the dot
// products at the ends of edges, which are its gradient in the weights.
//
// Compiled on the machine that runs it by `python -m mentor_pyg.ops.compile_native`, and called
// through ctypes: nothing here knows of Python or torch. Every row is the work of one thread and
// is summed in the order of its edges, so results do not depend on the number of threads.

#include <cmath>
#include <cstdint>
#include <vector>

namespace {

constexpr int kLanes = 64;  // Columns summed at a time, in registers.
constexpr int kAhead = 8;   // Edges between a prefetch and its use.

template <typename T>
inline void prefetch(const T* row) {
  for (int64_t k = 0; k < kLanes; k += 64 / int64_t(sizeof(T))) __builtin_prefetch(row + k);
}

// out[0, lanes) = sum over a row's edges of weight * x[col].
template <typename T, int L>
inline void row_sum(const int32_t* col, const T* weight, int64_t edges, const T* x, int64_t width,
                    T* out) {
  T acc[L] = {};
  for (int64_t e = 0; e < edges; ++e) {
    if (e + kAhead < edges) prefetch(x + int64_t(col[e + kAhead]) * width);
    const T w = weight[e];
    const T* __restrict source = x + int64_t(col[e]) * width;
#pragma GCC unroll 64
    for (int k = 0; k < L; ++k) acc[k] += w * source[k];
  }
  for (int k = 0; k < L; ++k) out[k] = acc[k];
}

template <typename T>
void product_row(const int32_t* col, const T* weight, int64_t edges, const T* x, int64_t width,
                 T* out) {
  int64_t k = 0;
  for (; k + kLanes <= width; k += kLanes)
    row_sum<T, kLanes>(col, weight, edges, x + k, width, out + k);
  for (; k + 8 <= width; k += 8) row_sum<T, 8>(col, weight, edges, x + k, width, out + k);
  for (; k < width; ++k) row_sum<T, 1>(col, weight, edges, x + k, width, out + k);
}

// A counter-based generator: the draw of an entry is a hash of (seed, row, column).
inline uint64_t row_key(uint64_t seed, uint64_t row) {  // splitmix64
  uint64_t z = seed + (row + 1) * 0x9E3779B97F4A7C15ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

inline uint32_t mix(uint32_t z) {  // The finaliser of MurmurHash3.
  z = (z ^ (z >> 16)) * 0x85EBCA6Bu;
  z = (z ^ (z >> 13)) * 0xC2B2AE35u;
  return z ^ (z >> 16);
}

template <typename T>
inline void draw_row(uint64_t key, int64_t width, T* out) {
  const uint32_t low = uint32_t(key), high = uint32_t(key >> 32);
  for (int64_t k = 0; k < width; ++k) {
    const uint32_t bits = mix(mix(uint32_t(k) * 0x9E3779B9u ^ low) + high);
    out[k] = T(int32_t(bits >> 8)) * T(1.0 / 16777216.0);  // U[0, 1)
  }
}

template <typename T>
inline T dot(const T* __restrict a, const T* __restrict b, int64_t width) {
  T lanes[16] = {};
  int64_t k = 0;
  for (; k + 16 <= width; k += 16)
    for (int j = 0; j < 16; ++j) lanes[j] += a[k + j] * b[k + j];
  for (; k < width; ++k) lanes[k & 15] += a[k] * b[k];
  T sum = 0;
  for (int j = 0; j < 16; ++j) sum += lanes[j];
  return sum;
}

// h += sign(h) * u / max(|u|, 1e-12) * scale.
template <typename T>
inline void add_noise(const T* __restrict u, T scale, int64_t width, T* __restrict h) {
  const T norm = std::sqrt(dot(u, u, width));
  const T factor = scale / (norm > T(1e-12) ? norm : T(1e-12));
  for (int64_t j = 0; j < width; ++j) {
    const T step = u[j] * factor;
    h[j] += h[j] > 0 ? step : (h[j] < 0 ? -step : T(0));
  }
}

template <typename T>
void layer(int64_t rows, int64_t width, const int32_t* rowptr, const int32_t* col, const T* weight,
           const T* x, const T* base, T* kept, T* total, int noisy, const T* draws, T scale,
           uint64_t seed, int threads) {
#pragma omp parallel num_threads(threads)
  {
    std::vector<T> own(width), own_draws(width);
#pragma omp for schedule(dynamic, 64)
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t start = rowptr[row], edges = rowptr[row + 1] - start;
      T* h = kept ? kept + row * width : own.data();
      product_row(col + start, weight + start, edges, x, width, h);
      if (noisy) {
        const T* u = draws ? draws + row * width : own_draws.data();
        if (!draws) draw_row(row_key(seed, uint64_t(row)), width, own_draws.data());
        add_noise(u, scale, width, h);
      }
      if (total) {
        const T* from = base + row * width;
        T* to = total + row * width;
        for (int64_t k = 0; k < width; ++k) to[k] = from[k] + h[k];
      }
    }
  }
}

// out[e] = y[row] . x[col[e]] for the edges of every row.
template <typename T>
void edge_dots(int64_t rows, int64_t width, const int32_t* rowptr, const int32_t* col, const T* y,
               const T* x, T* out, int threads) {
#pragma omp parallel for schedule(dynamic, 64) num_threads(threads)
  for (int64_t row = 0; row < rows; ++row) {
    const T* __restrict target = y + row * width;
    for (int64_t e = rowptr[row]; e < rowptr[row + 1]; ++e) {
      if (e + kAhead < rowptr[row + 1]) prefetch(x + int64_t(col[e + kAhead]) * width);
      out[e] = dot(target, x + int64_t(col[e]) * width, width);
    }
  }
}

}  // namespace

#define MENTOR_PYG_LAYER(name, T)                                                              \
  extern "C" void name(int64_t rows, int64_t width, const int32_t* rowptr, const int32_t* col, \
                       const T* weight, const T* x, const T* base, T* kept, T* total,          \
                       int noisy, const T* draws, T scale, uint64_t seed, int threads) {       \
    layer<T>(rows, width, rowptr, col, weight, x, base, kept, total, noisy, draws, scale,      \
             seed, threads);                                                                   \
  }

MENTOR_PYG_LAYER(layer_float32, float)
MENTOR_PYG_LAYER(layer_float64, double)

#define MENTOR_PYG_EDGE_DOTS(name, T)                                                           \
  extern "C" void name(int64_t rows, int64_t width, const int32_t* rowptr, const int32_t* col, \
                       const T* y, const T* x, T* out, int threads) {                          \
    edge_dots<T>(rows, width, rowptr, col, y, x, out, threads);                                \
  }

MENTOR_PYG_EDGE_DOTS(edge_dots_float32, float)
MENTOR_PYG_EDGE_DOTS(edge_dots_float64, double)
