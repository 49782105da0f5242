package egan.sample

import android.Manifest
import android.os.Bundle
import android.view.Gravity
import android.widget.FrameLayout
import android.widget.TextView
import androidx.activity.ComponentActivity
import androidx.activity.result.contract.ActivityResultContracts
import androidx.camera.core.ImageProxy
import androidx.camera.view.LifecycleCameraController
import androidx.camera.view.PreviewView
import java.util.concurrent.Executors

/** The camera's picture with the model's decision on it. */
class MainActivity : ComponentActivity() {
    // On this one thread the model is loaded, used and closed, in this order.
    private val worker = Executors.newSingleThreadExecutor()
    private var model: EganModel? = null

    private lateinit var preview: PreviewView
    private lateinit var answer: TextView

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        preview = PreviewView(this)
        answer = TextView(this).apply {
            gravity = Gravity.CENTER
            textSize = 24f
            setBackgroundColor(0xC0FFFFFF.toInt())
            setTextColor(0xFF000000.toInt())
            setText(R.string.loading)
        }
        val screen = FrameLayout(this)
        screen.addView(preview)
        screen.addView(answer, FrameLayout.LayoutParams(-1, -2, Gravity.CENTER))
        setContentView(screen)
        val camera = registerForActivityResult(ActivityResultContracts.RequestPermission()) {
            granted -> if (granted) startCamera() else answer.setText(R.string.camera_needed)
        }
        worker.execute {
            attempt {
                model = EganModel(assets)
                runOnUiThread { if (!isDestroyed) camera.launch(Manifest.permission.CAMERA) }
            }
        }
    }

    private fun startCamera() {
        val controller = LifecycleCameraController(this)
        controller.setImageAnalysisAnalyzer(worker) { frame -> attempt { analyze(frame) } }
        controller.bindToLifecycle(this)
        preview.controller = controller
    }

    private fun analyze(frame: ImageProxy) {
        val model = checkNotNull(model)
        val decision = frame.use {
            model.score(EganModel.seen(it.toBitmap(), it.cropRect, it.imageInfo.rotationDegrees))
        }
        val classes = if (decision.isMinority) model.contract.minority else model.contract.majority
        show("%s\n%.2f".format(classes.joinToString(" / "), decision.score))
    }

    /** Shows what went wrong, as a missing model, in the place of a decision. */
    private fun attempt(task: () -> Unit) = try {
        task()
    } catch (error: Exception) {
        show(error.message ?: error.toString())
    }

    private fun show(text: String) = runOnUiThread { answer.text = text }

    override fun onDestroy() {
        super.onDestroy()
        worker.execute { model?.close() }
        worker.shutdown()
    }
}
