package egan.sample

import android.content.res.AssetManager
import android.graphics.Bitmap
import android.graphics.Matrix
import java.io.FileInputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.MappedByteBuffer
import java.nio.channels.FileChannel
import java.security.MessageDigest
import org.tensorflow.lite.Interpreter

/** The model's answer for one image: a high score is majority, a low one minority. */
data class Decision(val score: Float, val isMinority: Boolean)

/**
 * The exported model: a bitmap in, a decision out.
 *
 * The threshold, the resize to the network and the normalisation are inside the model.
 * It is handed the pixels 0..255 as they are.
 */
class EganModel(assets: AssetManager, jsonName: String = "egan.json") : AutoCloseable {
    val contract = Contract.parse(assets.open(jsonName).bufferedReader().use { it.readText() })

    private val interpreter: Interpreter

    init {
        val model = map(assets, contract.modelFile)
        val sha256 = sha256(model)
        require(sha256 == contract.sha256) {
            "The model file is not the one that $jsonName describes: expected the SHA-256 " +
                "${contract.sha256}. Received: ${contract.modelFile} with $sha256. " +
                "Copy the .tflite, the .json and the golden folder from one export."
        }
        interpreter = Interpreter(model, Interpreter.Options().setNumThreads(THREADS))
    }

    /** Scores an upright image of any size. Call it off the main thread. */
    fun score(bitmap: Bitmap): Decision {
        val argb = IntArray(bitmap.width * bitmap.height)
        bitmap.getPixels(argb, 0, bitmap.width, 0, 0, bitmap.width, bitmap.height)
        return score(
            Pixels.stretchToRgb(argb, bitmap.width, bitmap.height, contract.width, contract.height)
        )
    }

    /** Scores RGB bytes of the model's size. An interpreter serves one thread at a time. */
    @Synchronized
    private fun score(rgb: ByteArray): Decision {
        val score = arrayOf(FloatArray(1))
        val isMinority = arrayOf(FloatArray(1))
        interpreter.runSignature(
            mapOf<String, Any>(contract.inputName to input(rgb)),
            mapOf<String, Any>("score" to score, "is_minority" to isMinority),
            "serving_default",
        )
        return Decision(score[0][0], isMinority[0][0] == 1f)
    }

    private fun input(rgb: ByteArray): ByteBuffer {
        val isFloat = contract.dtype == "float32"
        val bytes = if (isFloat) rgb.size * Float.SIZE_BYTES else rgb.size
        val buffer = ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder())
        // Kotlin's bytes are signed: 255 is -1 until it is masked.
        if (isFloat) rgb.forEach { buffer.putFloat((it.toInt() and 0xFF).toFloat()) }
        else buffer.put(rgb)
        buffer.rewind()
        return buffer
    }

    @Synchronized
    override fun close() = interpreter.close()

    companion object {
        private const val THREADS = 2

        /** Turns a camera's bitmap upright; the turn is clockwise, in quarters. */
        fun upright(bitmap: Bitmap, rotationDegrees: Int): Bitmap {
            if (rotationDegrees == 0) return bitmap
            val turn = Matrix().apply { postRotate(rotationDegrees.toFloat()) }
            return Bitmap.createBitmap(bitmap, 0, 0, bitmap.width, bitmap.height, turn, false)
        }

        private fun map(assets: AssetManager, name: String): MappedByteBuffer =
            assets.openFd(name).use { descriptor ->
                FileInputStream(descriptor.fileDescriptor).channel.map(
                    FileChannel.MapMode.READ_ONLY,
                    descriptor.startOffset,
                    descriptor.declaredLength,
                )
            }

        private fun sha256(model: MappedByteBuffer): String {
            val digest = MessageDigest.getInstance("SHA-256")
            digest.update(model.duplicate())
            return digest.digest().joinToString("") { "%02x".format(it) }
        }
    }
}
