/* One pass over a C-ordered matrix A (m x n):
 *
 *     residual = A x - y        and        gradient = A^T residual.
 *
 * While two rows, still in cache, are projected back, the next two are read and multiplied with x. So each cache
 * line of A comes from memory once, and memory and arithmetic overlap; asking for a line 1 KiB before its turn hides
 * the rest of the latency. A is not copied. Threads take a share of the rows each, and add up a share of the columns.
 */
#include <stddef.h>
#include <string.h>

#ifdef _OPENMP
#define IN_PARALLEL _Pragma("omp parallel for num_threads(parts) schedule(static, 1)")
#else
#define IN_PARALLEL
#endif

/* On x86-64 one copy of each function for AVX-512, one for AVX2 and one for any processor; chosen at load time. */
#if defined(__x86_64__) && defined(__linux__) && !defined(PORTABLE)
#define FOR_EACH_CPU __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FOR_EACH_CPU
#endif

#define AT(vector, j) (*(const pack *)((vector) + (j)))
#define AHEAD(vector, j) __builtin_prefetch((const char *)((vector) + (j)) + 1024)

#define DEFINE_ROWS(name, real)                                                                             \
    FOR_EACH_CPU void name(size_t m, size_t n, const real *A, const real *x, const real *y, real *residual, \
                           real *gradient)                                                                  \
    {                                                                                                       \
        typedef real pack __attribute__((vector_size(64), aligned(sizeof(real)), may_alias));               \
        const size_t width = 64 / sizeof(real), packed = n / width * width, pairs = m / 2;                  \
        const real *a = A, *b = A;   /* the pair that is projected back */                                  \
        real along_a = 0, along_b = 0; /* its residuals */                                                  \
        for (size_t pair = 0; pair < pairs; pair++) {                                                       \
            const real *c = A + 2 * pair * n, *d = c + n; /* the pair that is multiplied with x */          \
            pack sum_c = {0}, sum_d = {0};                                                                  \
            real dot_c = 0, dot_d = 0;                                                                      \
            size_t j = 0;                                                                                   \
            for (; j < packed; j += width) {                                                                \
                const pack xj = AT(x, j);                                                                   \
                AHEAD(c, j), AHEAD(d, j);                                                                   \
                *(pack *)(gradient + j) += along_a * AT(a, j) + along_b * AT(b, j);                         \
                sum_c += AT(c, j) * xj, sum_d += AT(d, j) * xj;                                             \
            }                                                                                               \
            for (; j < n; j++) {                                                                            \
                gradient[j] += along_a * a[j] + along_b * b[j];                                             \
                dot_c += c[j] * x[j], dot_d += d[j] * x[j];                                                 \
            }                                                                                               \
            for (j = 0; j < width; j++)                                                                     \
                dot_c += sum_c[j], dot_d += sum_d[j];                                                       \
            residual[2 * pair] = along_a = dot_c - y[2 * pair];                                             \
            residual[2 * pair + 1] = along_b = dot_d - y[2 * pair + 1];                                     \
            a = c, b = d;                                                                                   \
        }                                                                                                   \
        for (size_t j = 0; j < n; j++)                                                                      \
            gradient[j] += along_a * a[j] + along_b * b[j];                                                 \
        if (m % 2) {                                                                                        \
            const real *last = A + (m - 1) * n;                                                             \
            real rest = -y[m - 1];                                                                          \
            for (size_t j = 0; j < n; j++)                                                                  \
                rest += last[j] * x[j];                                                                     \
            residual[m - 1] = rest;                                                                         \
            for (size_t j = 0; j < n; j++)                                                                  \
                gradient[j] += rest * last[j];                                                              \
        }                                                                                                   \
    }

/* `gradients` has `parts` rows of n; the first one is the result. */
#define DEFINE_SWEEP(name, rows, real)                                                                      \
    void name(size_t m, size_t n, size_t parts, const real *A, const real *x, const real *y, real *residual, \
              real *gradients)                                                                              \
    {                                                                                                       \
        IN_PARALLEL                                                                                         \
        for (size_t k = 0; k < parts; k++) {                                                                \
            const size_t i = m * k / parts, end = m * (k + 1) / parts;                                      \
            memset(gradients + k * n, 0, n * sizeof(real));                                                 \
            rows(end - i, n, A + i * n, x, y + i, residual + i, gradients + k * n);                         \
        }                                                                                                   \
        if (parts > 1)                                                                                      \
            IN_PARALLEL                                                                                     \
            for (size_t k = 0; k < parts; k++)                                                              \
                for (size_t other = 1; other < parts; other++)                                              \
                    for (size_t j = n * k / parts; j < n * (k + 1) / parts; j++)                            \
                        gradients[j] += gradients[other * n + j];                                           \
    }

DEFINE_ROWS(rows_f64, double)
DEFINE_ROWS(rows_f32, float)
DEFINE_SWEEP(hadaflow_sweep_f64, rows_f64, double)
DEFINE_SWEEP(hadaflow_sweep_f32, rows_f32, float)

/* Whether several parts are worked on at once. */
int hadaflow_has_threads(void)
{
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}
