/* One pass over a C-ordered matrix A (m x n):
 *
 *     residual = A x - y        and        gradient += A^T residual.
 *
 * While two rows, still in cache, are projected back, the next two are read and multiplied with x. So each cache
 * line of A comes from memory once, and memory and arithmetic overlap; asking for a line 1 KiB before its turn hides
 * the rest of the latency. No copy of A, no threads: the caller splits the rows.
 */
#include <stddef.h>

/* On x86-64 one copy of each function for AVX-512, one for AVX2 and one for any processor; chosen at load time. */
#if defined(__x86_64__) && defined(__linux__) && !defined(PORTABLE)
#define FOR_EACH_CPU __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FOR_EACH_CPU
#endif

#define AT(vector, j) (*(const pack *)((vector) + (j)))
#define AHEAD(vector, j) __builtin_prefetch((const char *)((vector) + (j)) + 1024)

#define DEFINE_SWEEP(name, real)                                                                            \
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

DEFINE_SWEEP(hadaflow_sweep_f64, double)
DEFINE_SWEEP(hadaflow_sweep_f32, float)
