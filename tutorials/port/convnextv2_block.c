/* One block of ConvNeXt V2 in plain C, for lesson 12: float32, maps as (N, C, H, W), nothing but the C library.
 *
 *     cc -O2 -std=c99 -o block convnextv2_block.c -lm
 *     npconv golden check convnextv2_block --command "./block {input} {output}"
 *
 * The first argument is a folder with case.json and a file of raw little-endian float32 for each array; the second is
 * the file to write. The machine is taken to be little-endian, as nearly all are. It is written to be read, and slow.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KERNEL 7

#ifndef EPS /* of LayerNorm; lesson 12 sets a wrong one from outside */
#define EPS 1e-6f
#endif
#define GRN_EPS 1e-6f

typedef struct {
    int batch, channels, height, width, hidden;
} Shape;

/* --- the block ---------------------------------------------------------------------------------------------------- */

/* 7x7 convolution of each channel by itself, with three zeros around the map. */
static void depthwise(float *y, const float *x, const float *weight, const float *bias, Shape s)
{
    for (int n = 0; n < s.batch; n++)
        for (int c = 0; c < s.channels; c++) {
            size_t map = (size_t)(n * s.channels + c) * s.height * s.width;
            for (int i = 0; i < s.height; i++)
                for (int j = 0; j < s.width; j++) {
                    float sum = bias[c];
                    for (int u = 0; u < KERNEL; u++)
                        for (int v = 0; v < KERNEL; v++) {
                            int row = i + u - KERNEL / 2, column = j + v - KERNEL / 2;
                            if (row >= 0 && row < s.height && column >= 0 && column < s.width)
                                sum += weight[(c * KERNEL + u) * KERNEL + v] * x[map + row * s.width + column];
                        }
                    y[map + i * s.width + j] = sum;
                }
        }
}

/* LayerNorm over the channels of one position. Neighbours among channels are `step` numbers apart. In place. */
static void layer_norm(float *x, int channels, size_t step, const float *weight, const float *bias)
{
    float mean = 0, variance = 0;
    for (int c = 0; c < channels; c++)
        mean += x[c * step] / channels;
    for (int c = 0; c < channels; c++)
        variance += (x[c * step] - mean) * (x[c * step] - mean) / channels;
    for (int c = 0; c < channels; c++)
        x[c * step] = (x[c * step] - mean) / sqrtf(variance + EPS) * weight[c] + bias[c];
}

/* A matrix (outputs, inputs) times the channels of each position: a 1x1 convolution. */
static void pointwise(float *y, const float *x, const float *weight, const float *bias, int positions, int inputs,
                      int outputs)
{
    for (int o = 0; o < outputs; o++)
        for (int p = 0; p < positions; p++) {
            float sum = bias[o];
            for (int c = 0; c < inputs; c++)
                sum += weight[o * inputs + c] * x[(size_t)c * positions + p];
            y[(size_t)o * positions + p] = sum;
        }
}

/* The exact form, with erf. */
static float gelu(float x)
{
    return 0.5f * x * (1 + erff(x * 0.70710678f));
}

/* Global response normalization of one sample, in place; its residual is the 1 in the last line. */
static void response_norm(float *x, const float *weight, const float *bias, int channels, int positions)
{
    float *strength = malloc(channels * sizeof *strength), mean = 0;
    for (int c = 0; c < channels; c++) {
        float sum = 0;
        for (int p = 0; p < positions; p++)
            sum += x[(size_t)c * positions + p] * x[(size_t)c * positions + p];
        strength[c] = sqrtf(sum);
        mean += strength[c] / channels;
    }
    for (int c = 0; c < channels; c++)
        for (int p = 0; p < positions; p++) {
            float *value = &x[(size_t)c * positions + p];
            *value = *value * (1 + weight[c] * strength[c] / (mean + GRN_EPS)) + bias[c];
        }
    free(strength);
}

/* --- files: enough for these cases, no more ------------------------------------------------------------------------ */

static void fail(const char *what, const char *name)
{
    fprintf(stderr, "%s: %s\n", what, name);
    exit(1);
}

/* Read a whole file; the caller frees it. A zero byte is put behind it, so that text ends. */
static char *read_file(const char *folder, const char *name)
{
    char path[4096];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        fail("path too long", name);
    FILE *file = fopen(path, "rb");
    if (!file)
        fail("cannot be read", path);
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    char *content = calloc(size + 1, 1);
    if (!content || fread(content, 1, size, file) != (size_t)size)
        fail("cannot be read", path);
    fclose(file);
    return content;
}

static float *parameter(const char *folder, const char *name)
{
    char file[256];
    snprintf(file, sizeof file, "param.%s.f32", name);
    return (float *)read_file(folder, file);
}

/* Find the entry of a file in case.json and the numbers of its "shape". */
static void find_shape(const char *json, const char *file, int *shape, int count)
{
    const char *place = strstr(json, file);
    place = place ? strstr(place, "\"shape\"") : NULL;
    place = place ? strchr(place, '[') : NULL;
    if (!place)
        fail("no shape in case.json", file);
    for (int axis = 0; axis < count; axis++) {
        char *end;
        shape[axis] = (int)strtol(place + 1, &end, 10);
        place = strchr(end, axis + 1 < count ? ',' : ']');
        if (shape[axis] < 1 || !place)
            fail("unexpected shape in case.json", file);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3)
        fail("usage", "block FOLDER OUTPUT");
    char *json = read_file(argv[1], "case.json");
    int sizes[4], hidden;
    find_shape(json, "input.0.f32", sizes, 4);
    find_shape(json, "param.pwconv1.bias.f32", &hidden, 1);
    Shape s = {sizes[0], sizes[1], sizes[2], sizes[3], hidden};
    int positions = s.height * s.width;
    size_t map = (size_t)s.channels * positions, wide_map = (size_t)hidden * positions;

    float *x = (float *)read_file(argv[1], "input.0.f32");
    float *norm_weight = parameter(argv[1], "layernorm.weight"), *norm_bias = parameter(argv[1], "layernorm.bias");
    float *weight1 = parameter(argv[1], "pwconv1.weight"), *bias1 = parameter(argv[1], "pwconv1.bias");
    float *weight2 = parameter(argv[1], "pwconv2.weight"), *bias2 = parameter(argv[1], "pwconv2.bias");
    float *grn_weight = parameter(argv[1], "grn.weight"), *grn_bias = parameter(argv[1], "grn.bias");
    float *y = malloc(s.batch * map * sizeof *y), *wide = malloc(wide_map * sizeof *wide);
    float *branch = malloc(map * sizeof *branch);

    depthwise(y, x, parameter(argv[1], "dwconv.weight"), parameter(argv[1], "dwconv.bias"), s);
    for (int n = 0; n < s.batch; n++) {
        for (int p = 0; p < positions; p++)
            layer_norm(y + n * map + p, s.channels, positions, norm_weight, norm_bias);
        pointwise(wide, y + n * map, weight1, bias1, positions, s.channels, hidden);
        for (size_t i = 0; i < wide_map; i++)
            wide[i] = gelu(wide[i]);
        response_norm(wide, grn_weight, grn_bias, hidden, positions);
        pointwise(branch, wide, weight2, bias2, positions, hidden, s.channels);
        for (size_t i = 0; i < map; i++)
            y[n * map + i] = x[n * map + i] + branch[i]; /* the residual */
    }

    FILE *file = fopen(argv[2], "wb");
    if (!file || fwrite(y, sizeof *y, s.batch * map, file) != s.batch * map || fclose(file))
        fail("cannot be written", argv[2]);
    return 0; /* the system takes the memory back */
}
