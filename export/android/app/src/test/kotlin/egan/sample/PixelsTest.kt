package egan.sample

import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

/** The pixels must be those of Python, byte for byte; the vectors were made by Pillow. */
class PixelsTest {
    private class Vector(
        val kind: String,
        val size: List<Int>,
        val argb: IntArray,
        val rgb: ByteArray,
    )

    private fun vectors(vararg kinds: String): List<Vector> {
        val stream = checkNotNull(javaClass.getResourceAsStream("/pixel_vectors.txt"))
        return stream.bufferedReader().readLines()
            .filterNot { it.startsWith("#") }
            .map { it.split(" ") }
            .filter { it[0] in kinds }
            .map { Vector(it[0], it.subList(1, 5).map(String::toInt), argb(it[5]), bytes(it[6])) }
    }

    private fun bytes(hexadecimal: String) =
        hexadecimal.chunked(2).map { it.toInt(16).toByte() }.toByteArray()

    private fun argb(rgba: String) = rgba.chunked(8).map {
        val value = it.toLong(16).toInt()
        (value ushr 8) or (value shl 24)
    }.toIntArray()

    @Test
    fun stretchedPixelsEqualPillows() {
        val vectors = vectors("stretch", "alpha")
        assertTrue("vectors are missing", vectors.size >= 8)
        for (vector in vectors) {
            val (width, height, targetWidth, targetHeight) = vector.size
            val rgb = Pixels.stretchToRgb(vector.argb, width, height, targetWidth, targetHeight)
            assertArrayEquals("${vector.kind} ${vector.size}", vector.rgb, rgb)
        }
    }

    @Test
    fun pixelsThatDoNotFitTheirSizeAreRefused() {
        val error = assertThrows(IllegalArgumentException::class.java) {
            Pixels.stretchToRgb(IntArray(5), 2, 3, 1, 1)
        }
        assertEquals(
            "The pixels do not fit the size: expected width * height of them. " +
                "Received: 5 pixels, width=2, height=3",
            error.message,
        )
    }
}
