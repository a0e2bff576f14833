// Softmax over all rows of a table on the CPU, queries a block at a time: scores, their
// exponentials and both gradients, in tiles that stay in cache.
//
// Compiled on the machine that runs it by `python -m mentor_pyg.ops.compile_native`, and called
// through ctypes: nothing here knows of Python or torch. Every query, and every row of the table,
// is the work of one thread and is summed in a fixed order, so results do not depend on the number
// of threads. Made for AVX-512, with its 32 registers of 16 floats.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>

namespace {

constexpr int kLanes = 16;
typedef float Vec __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
typedef int32_t IntVec __attribute__((vector_size(4 * kLanes)));

// What registers hold of a product, 24 vectors: of scores 8 queries by 48 rows of the table, of
// gradients 6 rows by 64 columns.
constexpr int kScoreRows = 8, kScoreVecs = 3, kPanel = kScoreVecs * kLanes;
constexpr int kGradRows = 6, kGradVecs = 4;
constexpr int kTile = 5;    // Panels at a time: with the table's rows they fit a core's cache.
constexpr int kGroup = 24;  // Queries that share a tile while it is in cache.

inline Vec load(const float* from) { return *reinterpret_cast<const Vec*>(from); }
inline void store(float* to, Vec x) { *reinterpret_cast<Vec*>(to) = x; }

// c[R, V vectors] = or += sum over k of a[row, k] * b[k, V vectors].
template <int R, int V, bool Add>
inline void product(int64_t depth, const float* a, int64_t a_row, int64_t a_depth, const float* b,
                    int64_t b_depth, float* c, int64_t c_row) {
  Vec acc[R][V];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) acc[r][v] = Vec{};
  for (int64_t k = 0; k < depth; ++k) {
    Vec other[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) other[v] = load(b + k * b_depth + v * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const float x = a[r * a_row + k * a_depth];
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) acc[r][v] += x * other[v];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      float* out = c + r * c_row + v * kLanes;
      store(out, Add ? load(out) + acc[r][v] : acc[r][v]);
    }
}

// c[kGradRows, width] += sum over k of a[row, k] * b[k, width].
inline void add_product(int64_t depth, const float* a, int64_t a_row, int64_t a_depth,
                        const float* b, int64_t width, float* c) {
  int64_t col = 0;
  for (; col + kGradVecs * kLanes <= width; col += kGradVecs * kLanes)
    product<kGradRows, kGradVecs, true>(depth, a, a_row, a_depth, b + col, width, c + col, width);
  for (; col < width; col += kLanes)
    product<kGradRows, 1, true>(depth, a, a_row, a_depth, b + col, width, c + col, width);
}

// e^x for x <= 0, to two units in the last place; 0 below e^-87. After Cephes' expf.
inline Vec exponential(Vec x) {
  const Vec low = Vec{} - 87.0f;
  const IntVec under = x < low;
  x = under ? low : x;
  const Vec magic = Vec{} + 12582912.0f;  // 1.5 * 2^23: what is added to it becomes whole.
  const Vec moved = x * 1.44269504088896341f + magic, whole = moved - magic;
  const Vec r = x - whole * 0.693359375f + whole * 2.12194440e-4f;  // Less `whole` times ln 2.
  Vec y = Vec{} + 1.9875691500e-4f;
  y = y * r + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  y = y * r * r + r + 1.0f;
  IntVec bits, steps;  // The exponent gains `whole`, the low bits of `moved`.
  std::memcpy(&bits, &y, sizeof bits);
  std::memcpy(&steps, &moved, sizeof steps);
  bits += steps << 23;
  std::memcpy(&y, &bits, sizeof y);
  return under ? Vec{} : y;
}

struct Free {
  void operator()(float* p) const { std::free(p); }
};
using Buffer = std::unique_ptr<float[], Free>;

Buffer buffer(int64_t size) {  // A multiple of 16.
  return Buffer(static_cast<float*>(std::aligned_alloc(64, size * sizeof(float))));
}

// A block of queries before all rows.
struct Block {
  int64_t queries, rows, panels, width;
  int64_t height;         // Queries of a whole block.
  const float* query;     // [queries, width], over the temperature.
  const float* table;     // [panels * kPanel, width]
  const float* turned;    // [panels, width, kPanel]: the same.
  const int64_t* left_out;  // [queries]: a row that has no part, or -1; or null.
  float bound;            // Above all scores, or minus infinity.
  float* weight;          // [panels, height, kPanel]: scores, then their exponentials.
  float* shift;           // [tiles, height]: what was taken off the scores before.
  double* log_sum;        // [queries]: the logarithm of the sum of exponentials.

  float* at(int64_t panel, int64_t i) const { return weight + (panel * height + i) * kPanel; }
  float share(int64_t tile, int64_t i) const {  // Of an exponential in the softmax.
    return std::exp(float(shift[tile * height + i] - log_sum[i]));
  }
};

// Turn the scores of query `i` in a tile to exponentials below `top`, which may grow, and add them.
inline double exponentiate(const Block& b, int64_t i, int64_t start, int64_t stop, float* top) {
  Vec high = Vec{} + *top;
  for (int64_t p = start; p < stop; ++p)
    for (int v = 0; v < kPanel; v += kLanes) {
      const Vec x = load(b.at(p, i) + v);
      high = x > high ? x : high;
    }
  for (int k = 0; k < kLanes; ++k) *top = std::max(*top, high[k]);
  Vec sum = Vec{};
  for (int64_t p = start; p < stop; ++p)
    for (int v = 0; v < kPanel; v += kLanes) {
      const Vec x = exponential(load(b.at(p, i) + v) - *top);
      store(b.at(p, i) + v, x);
      sum += x;
    }
  double total = 0;
  for (int k = 0; k < kLanes; ++k) total += sum[k];
  return total;
}

// Find the exponentials and sums of a group of queries, and their gradient if it is asked for.
void take_queries(const Block& b, int64_t first, const float* count, float* sums, float* grad) {
  float top[kGroup];
  double total[kGroup] = {};
  std::fill(top, top + kGroup, b.bound);
  std::fill(sums, sums + kGroup * b.width, 0.0f);
  int64_t tile = 0;
  for (int64_t start = 0; start < b.panels; start += kTile, ++tile) {
    const int64_t stop = std::min(b.panels, start + kTile);
    for (int64_t i = first; i < first + kGroup; i += kScoreRows)
      for (int64_t p = start; p < stop; ++p)
        product<kScoreRows, kScoreVecs, false>(b.width, b.query + i * b.width, b.width, 1,
                                               b.turned + p * b.width * kPanel, kPanel, b.at(p, i),
                                               kPanel);
    for (int64_t r = 0; r < kGroup; ++r) {
      const int64_t i = first + r;
      if (stop == b.panels)  // What only fills the last panel has no part in the sum.
        std::fill(b.at(stop - 1, i) + (b.rows - (stop - 1) * kPanel), b.at(stop - 1, i) + kPanel,
                  -std::numeric_limits<float>::infinity());
      const int64_t left = b.left_out ? b.left_out[i] - start * kPanel : -1;
      if (left >= 0 && left < (stop - start) * kPanel)
        b.at(start + left / kPanel, i)[left % kPanel] = -std::numeric_limits<float>::infinity();
      const float before = top[r];
      const double added = exponentiate(b, i, start, stop, &top[r]);
      if (top[r] > before && tile > 0) {
        const float kept = std::exp(before - top[r]);
        total[r] *= kept;
        for (int64_t k = 0; k < b.width; ++k) sums[r * b.width + k] *= kept;
      }
      total[r] += added;
      b.shift[tile * b.height + i] = top[r];
    }
    for (int64_t p = start; grad && p < stop; ++p)
      for (int64_t r = 0; r < kGroup; r += kGradRows)
        add_product(kPanel, b.at(p, first + r), kPanel, 1, b.table + p * kPanel * b.width, b.width,
                    sums + r * b.width);
  }
  for (int64_t r = 0; r < kGroup; ++r) {
    b.log_sum[first + r] = top[r] + std::log(total[r]);
    const float scale = count[first + r] * b.share(tile - 1, first + r);
    for (int64_t k = 0; grad && k < b.width; ++k)
      grad[(first + r) * b.width + k] = scale * sums[r * b.width + k];
  }
}

// Add to the gradients of a tile's rows the queries, each by its part of the softmax.
void take_rows(const Block& b, int64_t tile, const float* count, float* scaled, float* grad) {
  for (int64_t i = 0; i < b.queries; ++i) {
    const float scale = count[i] * b.share(tile, i);
    for (int64_t k = 0; k < b.width; ++k) scaled[i * b.width + k] = scale * b.query[i * b.width + k];
  }
  for (int64_t p = tile * kTile; p < std::min(b.panels, (tile + 1) * kTile); ++p)
    for (int64_t j = 0; j < kPanel; j += kGradRows)
      add_product(b.queries, b.at(p, 0) + j, 1, kPanel, scaled, b.width,
                  grad + (p * kPanel + j) * b.width);
}

}  // namespace

extern "C" {

// Sizes are padded with zeros: `queries` and `height` to multiples of 24, `width` to one of 16,
// `table` to one of 48 rows, of which `rows` are true ones. `grad_query` is written, `grad_table`
// added to; either may be null.
void softmax_float32(int64_t queries, int64_t rows, int64_t width, int64_t height,
                     const float* query, const float* table, const float* turned,
                     const float* count, const int64_t* left_out, float bound, float* weight,
                     float* shift, double* log_sum, float* grad_query, float* grad_table,
                     int threads) {
  const int64_t panels = (rows + kPanel - 1) / kPanel, tiles = (panels + kTile - 1) / kTile;
#pragma omp parallel num_threads(threads)
  {
    const Buffer sums = buffer(kGroup * width), scaled = buffer(height * width);
    for (int64_t start = 0; start < queries; start += height) {
      const Block b = {std::min(height, queries - start), rows,  panels, width,
                       height,  query + start * width,    table, turned,
                       left_out ? left_out + start : nullptr,
                       bound,   weight,                   shift, log_sum + start};
#pragma omp for schedule(dynamic)
      for (int64_t first = 0; first < b.queries; first += kGroup)
        take_queries(b, first, count + start, sums.get(),
                     grad_query ? grad_query + start * width : nullptr);
      if (grad_table) {
#pragma omp for schedule(dynamic)
        for (int64_t tile = 0; tile < tiles; ++tile)
          take_rows(b, tile, count + start, scaled.get(), grad_table);
      }
    }
  }
}

// The scores of pairs, to the last bit those of the softmax.
void scores_float32(int64_t pairs, int64_t width, const float* query, const float* table,
                    const int64_t* query_id, const int64_t* row_id, float* score) {
  for (int64_t p = 0; p < pairs; ++p) {
    const float *x = query + query_id[p] * width, *y = table + row_id[p] * width;
    float sum = 0;
    for (int64_t k = 0; k < width; ++k) sum = std::fma(x[k], y[k], sum);
    score[p] = sum;
  }
}
}
