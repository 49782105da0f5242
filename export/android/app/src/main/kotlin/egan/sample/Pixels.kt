package egan.sample

import kotlin.math.abs

/**
 * Pixels as the model was trained on: no Android here, so that a plain JVM tests it.
 *
 * A phone's own bitmap scaling reads only the four nearest pixels, which turns a large
 * photo into noise. This is the antialiased bilinear resize of Pillow 12, in its
 * fixed-point arithmetic, and gives the same bytes. (Pillow 13 swaps the two passes where
 * the height shrinks much more than the width; a byte may then differ by 1.)
 */
object Pixels {
    private const val PRECISION_BITS = 32 - 8 - 2
    private const val HALF = 1 shl (PRECISION_BITS - 1)

    /**
     * Stretches an image to the model's size; the aspect ratio is not kept.
     *
     * @param argb straight (not premultiplied) ARGB as `Bitmap.getPixels` gives it, row by
     *   row; transparent pixels are laid on white.
     * @return RGB bytes 0..255 (height, width, 3), row by row.
     */
    fun stretchToRgb(
        argb: IntArray,
        width: Int,
        height: Int,
        targetWidth: Int,
        targetHeight: Int,
    ): ByteArray {
        require(width > 0 && height > 0 && argb.size == width * height) {
            "The pixels do not fit the size: expected width * height of them. " +
                "Received: ${argb.size} pixels, width=$width, height=$height"
        }
        require(targetWidth > 0 && targetHeight > 0) {
            "The target size must be positive. " +
                "Received: targetWidth=$targetWidth, targetHeight=$targetHeight"
        }
        val rgb = ByteArray(argb.size * 3)
        for (index in argb.indices) {
            val pixel = argb[index]
            val alpha = pixel ushr 24
            rgb[3 * index] = onWhite(pixel shr 16 and 0xFF, alpha)
            rgb[3 * index + 1] = onWhite(pixel shr 8 and 0xFF, alpha)
            rgb[3 * index + 2] = onWhite(pixel and 0xFF, alpha)
        }
        val narrow = resizeRows(rgb, width, height, targetWidth)
        return resizeColumns(narrow, targetWidth, height, targetHeight)
    }

    private fun onWhite(value: Int, alpha: Int): Byte =
        ((value * alpha + 255 * (255 - alpha) + 127) / 255).toByte()

    private fun resizeRows(rgb: ByteArray, width: Int, height: Int, target: Int): ByteArray {
        val weights = triangleWeights(width, target)
        val out = ByteArray(target * height * 3)
        for (y in 0 until height) {
            for (x in 0 until target) {
                for (channel in 0 until 3) {
                    var sum = HALF
                    val first = 3 * (y * width + weights.first[x]) + channel
                    weights.values[x].forEachIndexed { index, weight ->
                        sum += weight * (rgb[first + 3 * index].toInt() and 0xFF)
                    }
                    out[3 * (y * target + x) + channel] = toByte(sum)
                }
            }
        }
        return out
    }

    private fun resizeColumns(rgb: ByteArray, width: Int, height: Int, target: Int): ByteArray {
        val weights = triangleWeights(height, target)
        val stride = 3 * width
        val out = ByteArray(stride * target)
        for (y in 0 until target) {
            val first = stride * weights.first[y]
            for (column in 0 until stride) {
                var sum = HALF
                weights.values[y].forEachIndexed { index, weight ->
                    sum += weight * (rgb[first + stride * index + column].toInt() and 0xFF)
                }
                out[stride * y + column] = toByte(sum)
            }
        }
        return out
    }

    private fun toByte(sum: Int): Byte = (sum shr PRECISION_BITS).coerceIn(0, 255).toByte()

    private class Weights(val first: IntArray, val values: Array<IntArray>)

    /** For each output pixel, the first input pixel read and the fixed-point weights. */
    private fun triangleWeights(size: Int, target: Int): Weights {
        val scale = size.toDouble() / target
        val support = maxOf(scale, 1.0)
        val first = IntArray(target)
        val values = Array(target) { index ->
            val center = (index + 0.5) * scale
            first[index] = maxOf((center - support + 0.5).toInt(), 0)
            val end = minOf((center + support + 0.5).toInt(), size)
            val triangle = DoubleArray(end - first[index]) { offset ->
                val distance = (offset + first[index] - center + 0.5) * (1.0 / support)
                maxOf(1.0 - abs(distance), 0.0)
            }
            // Summed in order, as Pillow does, so that the last bit agrees.
            var total = 0.0
            for (weight in triangle) total += weight
            IntArray(triangle.size) { offset ->
                (0.5 + triangle[offset] / total * (1 shl PRECISION_BITS)).toInt()
            }
        }
        return Weights(first, values)
    }
}
