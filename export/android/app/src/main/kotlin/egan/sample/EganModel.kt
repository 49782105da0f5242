package egan.sample

import android.content.res.AssetManager
import android.graphics.Bitmap
import android.graphics.Matrix
import android.graphics.Rect
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel

/** The model's answer for one image: a high score is majority, a low one minority. */
data class Decision(val score: Float, val isMinority: Boolean)

/**
 * The exported model: a bitmap in, a decision out.
 *
 * The threshold, the resize to the network and the normalisation are inside the model.
 * It is handed the pixels 0..255 as they are. Loading takes a moment and reads files: make
 * one off the main thread. Throws an IllegalArgumentException if the files are not there,
 * or not those of one export.
 */
class EganModel(assets: AssetManager, jsonName: String = "egan.json") : AutoCloseable {
    val contract = Contract.load(jsonName, assets::open)

    // The processor, whose scores were compared with Python's; a GPU rounds in its own way.
    private val model = CompiledModel.create(
        assets,
        contract.modelFile,
        CompiledModel.Options(Accelerator.CPU).apply {
            cpuOptions = CompiledModel.CpuOptions(numThreads = THREADS)
        },
    )
    private val input = model.createInputBuffer(contract.inputName, SIGNATURE)

    // LiteRT wants a buffer for every output, a heat map that is not read here included.
    private val outputs = contract.outputs.associateWith { model.createOutputBuffer(it, SIGNATURE) }

    /** Scores an upright image of any size. Call it off the main thread. */
    fun score(bitmap: Bitmap): Decision {
        val argb = IntArray(bitmap.width * bitmap.height)
        bitmap.getPixels(argb, 0, bitmap.width, 0, 0, bitmap.width, bitmap.height)
        return score(
            Pixels.stretchToRgb(argb, bitmap.width, bitmap.height, contract.width, contract.height)
        )
    }

    /** Scores RGB bytes of the model's size. The buffers serve one thread at a time. */
    @Synchronized
    private fun score(rgb: ByteArray): Decision {
        if (contract.dtype == "float32") {
            // Kotlin's bytes are signed: 255 is -1 until it is masked.
            input.writeFloat(FloatArray(rgb.size) { (rgb[it].toInt() and 0xFF).toFloat() })
        } else {
            // For uint8, too: the bytes are copied as they are.
            input.writeInt8(rgb)
        }
        model.run(mapOf(contract.inputName to input), outputs, SIGNATURE)
        return Decision(read("score"), read("is_minority") == 1f)
    }

    private fun read(name: String): Float = outputs.getValue(name).readFloat()[0]

    @Synchronized
    override fun close() {
        input.close()
        outputs.values.forEach { it.close() }
        model.close()
    }

    companion object {
        private const val SIGNATURE = "serving_default"
        private const val THREADS = 2

        /**
         * Cuts out of a camera's bitmap what the user sees, and turns it upright.
         *
         * @param crop the part that the preview shows, `ImageProxy.cropRect`.
         * @param rotationDegrees the turn, clockwise, in quarters.
         */
        fun seen(bitmap: Bitmap, crop: Rect, rotationDegrees: Int): Bitmap {
            val turn = Matrix().apply { postRotate(rotationDegrees.toFloat()) }
            return Bitmap.createBitmap(
                bitmap, crop.left, crop.top, crop.width(), crop.height(), turn, false,
            )
        }
    }
}
